"""LitServe with its batching and its faster queue."""

from typing import Any

import litserve
import numpy as np
from fastapi import Request

from benchmarks.peers.model import Rows, load, port


class _Api(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - litserve gives it by name
        self.run = load()

    def decode_request(self, request: Request) -> Rows:  # by this type litserve reads JSON, and hands that on
        return np.asarray(request["instances"][0], np.float32)

    def batch(self, inputs: list[Rows]) -> Rows:
        return np.stack(inputs)

    def predict(self, x: Rows) -> list[Any]:
        answer: list[Any] = self.run(x).tolist()
        return answer

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": [output]}


if __name__ == "__main__":
    server = litserve.LitServer(
        _Api(max_batch_size=64, batch_timeout=0.002), accelerator="cpu", fast_queue=True, timeout=60
    )
    server.run(host="127.0.0.1", port=port(), generate_client_file=False, log_level="warning", access_log=False)
