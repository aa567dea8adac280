"""One pod of each runtime for all clients."""

from collections.abc import Iterator

import pytest

from tests.clients.kinds import serving_kinds


@pytest.fixture(scope="session", params=["tensorflow", "litert"])
def addresses(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Return HOST:PORT of a pod's API and of its gRPC."""
    with serving_kinds(tmp_path_factory.mktemp("kinds"), request.param) as found:
        yield found


@pytest.fixture
def address(addresses: tuple[str, str]) -> str:
    """Return HOST:PORT of a pod's API."""
    return addresses[0]


@pytest.fixture
def rpc_address(addresses: tuple[str, str]) -> str:
    """Return HOST:PORT of a pod's gRPC."""
    return addresses[1]
