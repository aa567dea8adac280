"""Ray Serve with @serve.batch, one replica on a local Ray without dashboard."""

import asyncio
import os
import signal
import threading
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.model import load, port

_QUIET = {"enable_access_log": False, "log_level": "WARNING"}
_OBJECTS = 200 << 20  # bytes of shared memory; Ray would take 30 % of the machine's


class Peer:
    """The replica that has the model."""

    def __init__(self) -> None:
        self.run = load()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def batch(self, rows: list[Any]) -> list[Any]:
        """Compute the rows of several callers."""
        answer: list[Any] = self.run(np.asarray(rows, np.float32)).tolist()
        return answer

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer rows with rows."""
        asked = await request.json()
        return {"predictions": await asyncio.gather(*(self.batch(row) for row in asked["instances"]))}


def main() -> None:
    """Serve until SIGTERM, as `serve run` does until SIGINT."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(("BENCH_", "TF_"))}
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=_OBJECTS,
        runtime_env={"env_vars": passed},
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": port()}, logging_config=_QUIET)
    deployment = serve.deployment(max_ongoing_requests=2000, ray_actor_options={"num_cpus": 1})(Peer)
    serve.run(deployment.bind(), name="peer", route_prefix="/predict", logging_config=_QUIET)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
