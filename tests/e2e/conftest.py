"""The cluster and the images, once for all end-to-end tests, and the figures that they found."""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.images import Images, provide
from tests.e2e.target import Target

_FIGURES = pytest.StashKey[dict[str, object]]()


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    if (reason := _obstacle()) is not None:
        pytest.skip(reason)
    with Target.open() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def images(target: Target) -> Images:
    return provide(target)


@pytest.fixture
def ingress(target: Target) -> str:
    """The ingress's address; a test that needs one is skipped where none is known."""
    if not target.ingress:
        pytest.skip("set TFPOD_E2E_INGRESS to the address of the cluster's ingress (http://…)")
    return target.ingress


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Show a figure at the end of the run: what is measured here is told, not asserted."""
    figures = request.config.stash.setdefault(_FIGURES, {})
    return lambda figure: figures.update({request.node.name: figure})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for test, figure in config.stash.get(_FIGURES, {}).items():
        terminalreporter.section(test)
        terminalreporter.line(json.dumps(figure, indent=2))


def _obstacle() -> str | None:
    if "KUBECONFIG" in os.environ:
        missing = [name for name in ("TFPOD_E2E_IMAGE", "TFPOD_E2E_ADAPTER_IMAGE") if name not in os.environ]
        return f"a given KUBECONFIG needs {' and '.join(missing)}" if missing else None
    if platform.system() != "Linux" or os.geteuid() != 0 or shutil.which("go") is None:
        return "needs KUBECONFIG, or Linux, root and Go to start a cluster of its own"
    return None
