"""What is seen of the autoscaling while the load takes a step up and a step down, and the figures that follow."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

REQUESTS = "tfpod_requests_per_second"
GPU = "tfpod_gpu_utilization_percent"

PERIOD = 15  # seconds between two decisions of the HPA


class Step(NamedTuple):
    """A stretch of constant load, in units of what one pod is to carry."""

    pods: float
    seconds: int


class Sample(NamedTuple):
    """What was seen at one moment."""

    second: float
    load: float  # of all pods together, in the metric's unit
    served: float | None  # the metric's mean over the pods as the adapter serves it
    age: float | None  # of that, in seconds
    observed: float | None  # the same as the HPA read it last
    wanted: int  # replicas that the HPA asked for
    ready: int


@dataclass(frozen=True)
class Course:
    """All that was seen of one step."""

    metric: str
    goal: float  # of the metric, for each pod
    steps: tuple[Step, ...]
    samples: list[Sample]
    load: dict[str, Any]  # the report of the load generator

    def expected(self, step: int) -> int:
        """Return how many pods the load of a step takes."""
        return math.ceil(self.steps[step].pods)

    def begin(self, step: int) -> float:
        """Return the second at which a step begins."""
        return float(sum(each.seconds for each in self.steps[:step]))

    def until(self, step: int, right: Callable[[Sample, int], bool]) -> float | None:
        """Return the seconds from the begin of a step until `right(sample, expected)`, None where it never was."""
        begin, end = self.begin(step), self.begin(step + 1)
        times = (
            sample.second - begin
            for sample in self.samples
            if begin <= sample.second < end and right(sample, self.expected(step))
        )
        return next(times, None)

    def summary(self) -> dict[str, Any]:
        """Return the figures: seconds, counts, and the load generator's report."""
        ages = [sample.age for sample in self.samples if sample.age is not None]
        return {
            "metric": self.metric,
            "out": self._step(1),
            "in": self._step(2),
            "overshoot": max(sample.wanted for sample in self.samples) - self.expected(1),
            "metric_age_s": {"median": round(median(ages), 2), "max": round(max(ages), 2)} if ages else None,
            "load": self.load,
        }

    def _step(self, step: int) -> dict[str, float | None]:
        wanted = self.until(step, lambda sample, pods: sample.wanted == pods)
        ready = self.until(step, lambda sample, pods: sample.wanted == sample.ready == pods)
        return {
            "pods": self.expected(step),
            "wanted_after_s": wanted and round(wanted, 1),
            "wanted_after_periods": wanted and round(wanted / PERIOD, 1),
            "ready_after_s": ready and round(ready, 1),
        }
