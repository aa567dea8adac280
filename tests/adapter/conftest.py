"""A small cluster: the adapter behind its door, an API server, and the certificates of both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from service.adapter import app as app_module
from service.adapter import door as door_module
from service.adapter import kube as kube_module
from service.adapter import scrape as scrape_module
from service.adapter.app import create_api
from service.adapter.auth import Auth
from service.adapter.door import Door
from service.adapter.kube import Kube
from service.adapter.scrape import Scraper
from service.net.server import listen
from tests.adapter.cluster import Cluster
from tests.adapter.standins import TOKEN, ApiServer, Authority, until


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Give a cluster whose adapter is ready and looks every instant for what has changed.

    A busy machine makes everything slow: what must not run out of time has much of it.
    """
    monkeypatch.setattr(kube_module, "TIMEOUT", 30.0)
    monkeypatch.setattr(scrape_module, "TIMEOUT", 30.0)
    for module in (app_module, scrape_module):
        monkeypatch.setattr(module, "KEPT", 30.0)
    monkeypatch.setattr(door_module, "REFRESH_PAUSE", 0.01)
    monkeypatch.setattr(door_module, "REFRESH_SECONDS", 0.05)
    cluster_ca, front_ca = Authority(tmp_path, "cluster"), Authority(tmp_path, "front")
    front_ca.issue("front-proxy")
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "ca.crt").write_text(cluster_ca.pem)
    api = ApiServer(front_ca.pem)
    async with AsyncExitStack() as stack:
        kube_url = await stack.enter_async_context(api.serving(*cluster_ca.issue("kubernetes", server=True)))
        kube = await stack.enter_async_context(aclosing(Kube(kube_url, tmp_path)))
        scraper = await stack.enter_async_context(aclosing(Scraper()))
        auth, listener = Auth(kube), listen("", 0)
        files = cluster_ca.issue("adapter", server=True)
        app = create_api(auth, kube, scraper, "metrics")
        door = Door(app, auth, *files, listener)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.serve())
            await until(lambda: door.ready)
            port = listener.getsockname()[1]
            yield Cluster(tmp_path, cluster_ca, front_ca, api, kube_url, stack, auth, app, door, port)
            door.close()
