"""One pod of each runtime for all clients."""

from collections.abc import Iterator

import pytest

from tests.clients.kinds import serving_kinds


@pytest.fixture(scope="session", params=["tensorflow", "litert"])
def address(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return HOST:PORT of a pod."""
    with serving_kinds(tmp_path_factory.mktemp("kinds"), request.param) as found:
        yield found
