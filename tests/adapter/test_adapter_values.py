"""Metric values: from the pods' own words to the answer that the HPA reads."""

import pytest

from tests.adapter.conftest import Cluster, values
from tests.adapter.standins import now

pytestmark = pytest.mark.anyio


async def test_the_answer_names_each_ready_pod_with_its_value(cluster: Cluster) -> None:
    await cluster.pod("a", "tfpod_requests_per_second 1.5\n")
    await cluster.pod("b", "tfpod_requests_per_second 7\n")
    assert values(await cluster.metric()) == {"a": "1500m", "b": "7"}
