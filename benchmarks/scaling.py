"""Shows the autoscaling: offers a step of load to a release, watches every second, prints figures and draws a picture.

The step goes from half of what one pod is to carry to just under four times that, and back. With `--metric gpu` the
load is GPU utilisation, played by a driver library without hardware.

    python -m benchmarks.scaling                   # on the test cluster of this machine, or on KUBECONFIG
    python -m benchmarks.scaling --metric gpu --output gpu.svg
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.course import GPU, REQUESTS, Course, Sample, Step
from benchmarks.picture import draw
from tests.e2e.fake_gpu import FakeGpus
from tests.e2e.images import provide
from tests.e2e.release import GOAL, Release
from tests.e2e.target import Target

STEPS = (Step(0.5, 20), Step(3.9, 80), Step(0.5, 80))
_BACKGROUND = 5  # requests a second while the GPUs' load changes


def watch(release: Release, goal: float, steps: tuple[Step, ...] = STEPS, gpus: FakeGpus | None = None) -> Course:
    """Offer the steps to an installed release whose HPA aims at `goal` for each pod, and return what was seen.

    With `gpus` the load is theirs, spread evenly over the ready pods, and requests only run along.
    """
    metric, requests = (GPU, [_BACKGROUND] * len(steps)) if gpus else (REQUESTS, [step.pods * goal for step in steps])
    samples = []
    offered = [(rate, step.seconds) for rate, step in zip(requests, steps, strict=True)]
    with release.load(offered) as generator:
        begin = time.monotonic()
        for second, step in _seconds(begin, steps):
            pods = release.pods()
            load, ready = step.pods * goal, sum(pods.values())
            samples.append(_look(release, metric, second, load, ready))
            if gpus:
                gpus.play({name: load / ready if serves else 0 for name, serves in pods.items()})
        report, _ = generator.communicate()
    return Course(metric, goal, steps, samples, json.loads(report))


def _seconds(begin: float, steps: tuple[Step, ...]) -> Iterator[tuple[float, Step]]:
    """Yield, once a second, the time since the begin and the step that it lies in."""
    ends = [sum(step.seconds for step in steps[: number + 1]) for number in range(len(steps))]
    for tick in range(ends[-1]):
        time.sleep(max(0.0, begin + tick - time.monotonic()))
        yield time.monotonic() - begin, next(step for step, end in zip(steps, ends, strict=True) if tick < end)


def _look(release: Release, metric: str, second: float, load: float, ready: int) -> Sample:
    served = release.metric(metric)
    return Sample(
        second=second,
        load=load,
        served=served and sum(served.values.values()) / len(served.values),
        age=served and served.age,
        observed=release.observed(metric),
        wanted=release.deployment()["spec"]["replicas"],
        ready=ready,
    )


def main() -> None:
    """Install a release, watch one course, print its figures and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metric", choices=["requests", "gpu"], default="requests")
    parser.add_argument("--output", type=Path, default=Path("docs/scaling.svg"))
    given = parser.parse_args()
    with Target.open() as target:
        images = provide(target)
        if given.metric == "gpu":
            with FakeGpus(target, "picture") as gpus, Release(target, images, "picture", gpus.values) as release:
                course = watch(release, 60, gpus=gpus)
        else:
            with Release(target, images, "picture") as release:
                course = watch(release, GOAL)
    print(json.dumps(course.summary(), indent=2))
    given.output.parent.mkdir(exist_ok=True)
    draw(course, given.output)


if __name__ == "__main__":
    main()
