"""KServe's ModelServer; its batching is a container of its own, beside this one."""

from typing import Any

from kserve import Model, ModelServer

from benchmarks.peers.model import load, port


class _Peer(Model):
    def __init__(self) -> None:
        super().__init__("peer")
        self.run = load()
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> dict[str, Any]:  # noqa: ARG002
        return {"predictions": self.run(payload["instances"]).tolist()}


if __name__ == "__main__":
    server = ModelServer(
        http_port=port(), enable_grpc=False, workers=1, enable_latency_logging=False, access_log_format=None
    )
    server.start([_Peer()])
