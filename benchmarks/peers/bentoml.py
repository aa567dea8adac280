"""BentoML with its adaptive batching."""

from typing import Any

import bentoml

from benchmarks.peers.model import load


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 2000}, logging={"access": {"enabled": False}})
class Peer:
    """One worker that has the model; more callers than there are connections may wait."""

    def __init__(self) -> None:
        self.run = load()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000, route="/predict")
    def predict(self, instances: list[Any]) -> list[Any]:
        """Answer rows with rows, those of several callers at once."""
        answer: list[Any] = self.run(instances).tolist()
        return answer
