"""One pod for all clients."""

from collections.abc import Iterator

import pytest

from tests.clients.models import serving_kinds


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return HOST:PORT of a pod."""
    with serving_kinds(tmp_path_factory.mktemp("kinds")) as found:
        yield found
