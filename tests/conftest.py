"""What all tests share."""

from typing import Any

import pytest

from tests.clock import Clock


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run asynchronous tests on the loop that the pod runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still unless the test adds to its `now`."""
    return Clock()
