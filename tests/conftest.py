"""What all tests share."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run asynchronous tests on the loop that the pod runs on."""
    return "asyncio", {"use_uvloop": True}
