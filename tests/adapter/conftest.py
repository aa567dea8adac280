"""A small cluster: the adapter behind its door, an API server, pods, and the certificates of all."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncio
import httpx
import pytest

from service.adapter import door as door_module
from service.adapter.app import create_api
from service.adapter.auth import Auth
from service.adapter.door import Door
from service.adapter.kube import Kube
from service.adapter.scrape import Scraper
from service.adapter.server import listen
from tests.adapter.standins import TOKEN, ApiServer, Authority, PodServer, client_context, page, pod, until

ALICE = {"X-Remote-User": "alice", "X-Remote-Group": "hpa"}


@dataclass
class Cluster:
    """All that a test may touch."""

    folder: Path
    cluster_ca: Authority
    front_ca: Authority
    api: ApiServer
    stack: AsyncExitStack
    door: Door
    port: int
    auth: Auth
    account: Path
    hosts: int = field(default=1)

    @property
    def url(self) -> str:
        """The adapter's address."""
        return f"https://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def client(self, identity: tuple[Path, Path] | None) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client of the adapter that shows a certificate, if any."""
        context = client_context(self.cluster_ca.pem, identity)
        async with httpx.AsyncClient(base_url=self.url, verify=context, trust_env=False) as client:
            yield client

    async def get(self, path: str, headers: dict[str, str] = ALICE, **request: Any) -> httpx.Response:
        """Ask the adapter as the front proxy does."""
        async with self.client((self.folder / "front-proxy.crt", self.folder / "front-proxy.key")) as client:
            return await client.get(path, headers=headers, **request)

    async def metric(self, metric: str = "tfpod_requests_per_second", **params: str) -> httpx.Response:
        """Ask for a metric of the pods of namespace `web`."""
        path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/web/pods/*/{metric}"
        return await self.get(path, params=params or {"labelSelector": "app=model"})

    async def pod(self, name: str, answer: PodServer | str, **changes: Any) -> PodServer:
        """Start a pod with an address of its own that answers with a PodServer or with metrics."""
        server = answer if isinstance(answer, PodServer) else PodServer(page(answer))
        self.hosts += 1
        await self.stack.enter_async_context(server.serving(f"127.0.0.{self.hosts}"))
        self.api.pods.append(pod(name, server.address, **changes))
        return server


def values(answer: httpx.Response) -> dict[str, str]:
    """Return the values of a MetricValueList by pod."""
    assert answer.status_code == 200, answer.text
    return {item["describedObject"]["name"]: item["value"] for item in answer.json()["items"]}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Give a cluster whose adapter is ready and looks every instant for what has changed."""
    monkeypatch.setattr(door_module, "REFRESH_PAUSE", 0.01)
    cluster_ca, front_ca = Authority(tmp_path, "cluster"), Authority(tmp_path, "front")
    front_ca.issue("front-proxy")
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "ca.crt").write_text(cluster_ca.pem)
    api = ApiServer(front_ca.pem)
    async with AsyncExitStack() as stack:
        kube_url = await stack.enter_async_context(api.serving(*cluster_ca.issue("kubernetes", server=True)))
        kube = await stack.enter_async_context(aclosing(Kube(kube_url, tmp_path)))
        scraper = await stack.enter_async_context(aclosing(Scraper()))
        auth, listener = Auth(kube), listen(0)
        files = cluster_ca.issue("adapter", server=True)
        door = Door(create_api(auth, kube, scraper, "metrics"), auth, *files, listener)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.serve())
            await until(lambda: door.ready)
            yield Cluster(tmp_path, cluster_ca, front_ca, api, stack, door, listener.getsockname()[1], auth, tmp_path)
            door.close()
