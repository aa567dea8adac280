"""A small cluster around the adapter, as tests see it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from service.adapter.auth import Auth
from service.adapter.door import Door
from tests.adapter.standins import ApiServer, Authority, PodServer, client_context, page, pod, until

ALICE = {"X-Remote-User": "alice", "X-Remote-Group": "hpa"}


@dataclass
class Cluster:
    """All that a test may touch."""

    folder: Path
    cluster_ca: Authority
    front_ca: Authority
    api: ApiServer
    kube_url: str
    stack: AsyncExitStack
    auth: Auth
    app: ASGIApp
    door: Door
    port: int
    hosts: int = 1

    @property
    def url(self) -> str:
        """The adapter's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def front_proxy(self) -> tuple[Path, Path]:
        """The front proxy's certificate and key."""
        return self.folder / "front-proxy.crt", self.folder / "front-proxy.key"

    @asynccontextmanager
    async def client(self, identity: tuple[Path, Path] | None) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client of the adapter that shows a certificate, if any."""
        context = client_context(self.cluster_ca.pem, identity)
        async with httpx.AsyncClient(base_url=self.url, verify=context, trust_env=False) as client:
            yield client

    async def get(self, path: str, headers: Any = ALICE, **request: Any) -> httpx.Response:
        """Ask the adapter as the front proxy does."""
        async with self.client(self.front_proxy) as client:
            return await client.get(path, headers=headers, **request)

    async def metric(self, metric: str = "tfpod_requests_per_second", **params: str) -> httpx.Response:
        """Ask for a metric of the pods of namespace `web`."""
        path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/web/pods/*/{metric}"
        return await self.get(path, params=params or {"labelSelector": "app=model"})

    async def refreshed(self) -> None:
        """Wait until the adapter has read and taken over what the API server says of the front proxy."""
        seen = self.api.config_reads
        await until(lambda: self.api.config_reads > seen + 1)

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
