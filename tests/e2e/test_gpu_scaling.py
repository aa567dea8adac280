"""A release whose pods request GPUs: it scales on how busy they are."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks.course import GPU, REQUESTS
from benchmarks.scaling import watch
from tests.e2e.fake_gpu import FakeGpus
from tests.e2e.images import Images
from tests.e2e.release import Release
from tests.e2e.target import Target, eventually

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def gpus(target: Target) -> Iterator[FakeGpus]:
    if not FakeGpus.possible():
        pytest.skip("needs a C compiler for the driver without hardware")
    with FakeGpus(target, "gpu") as made:
        yield made


@pytest.fixture(scope="module")
def release(target: Target, images: Images, gpus: FakeGpus) -> Iterator[Release]:
    with Release(target, images, "gpu", gpus.values) as installed:
        yield installed


def test_the_hpa_reads_requests_and_utilisation(release: Release, gpus: FakeGpus) -> None:
    gpus.play(dict.fromkeys(release.pods(), 20))
    eventually(lambda: release.observed(GPU) == 20, 120, "the HPA does not know the utilisation")
    assert release.observed(REQUESTS) is not None


@pytest.mark.usefixtures("ingress")
def test_utilisation_scales_out_and_in_without_a_failed_request(
    release: Release, gpus: FakeGpus, show: Callable[[object], None]
) -> None:
    course = watch(release, goal=60, gpus=gpus)
    show(course.summary())
    assert max(sample.wanted for sample in course.samples) == course.expected(1) == 4
    assert course.until(1, lambda sample, pods: sample.ready == pods) is not None
    assert course.until(2, lambda sample, pods: sample.ready == pods) is not None
    assert course.load["failed"] == 0
