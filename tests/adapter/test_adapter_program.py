"""The program: its start, its settings, its way down."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.adapter.cluster import ALICE, Cluster
from tests.adapter.standins import client_context

pytestmark = pytest.mark.anyio

DISCOVERY = "/apis/custom.metrics.k8s.io/v1beta2"


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@asynccontextmanager
async def program(environment: dict[str, str]) -> AsyncIterator[Process]:
    """Run the adapter with nothing but `environment`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.adapter", env=environment, stderr=PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def status(port: int, path: str) -> int:
    """Return the answer of the health port; 0 while there is none."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{port}{path}")).status_code
    except httpx.TransportError:
        return 0


async def until_status(port: int, path: str, wanted: int) -> None:
    """Wait until the health port answers so."""
    async with asyncio.timeout(20):
        while True:
            if await status(port, path) == wanted:
                return
            await asyncio.sleep(0.02)


async def test_after_sigterm_it_is_unready_serves_on_for_a_while_and_ends_well(cluster: Cluster) -> None:
    port, health = free_port(), free_port()
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": cluster.kube_url.rpartition(":")[2],
        "TFPOD_ADAPTER_PORT": str(port),
        "TFPOD_ADAPTER_HEALTH_PORT": str(health),
        "TFPOD_ADAPTER_CERT_FILE": str(cluster.folder / "adapter.crt"),
        "TFPOD_ADAPTER_KEY_FILE": str(cluster.folder / "adapter.key"),
        "TFPOD_ADAPTER_SERVICE_ACCOUNT": str(cluster.folder),
        "TFPOD_ADAPTER_DRAIN_DELAY": "2",
    }
    cluster.api.broken = 503
    async with program(environment) as process:
        await until_status(health, "/livez", 200)
        assert await status(health, "/readyz") == 503
        cluster.api.broken = None
        await until_status(health, "/readyz", 200)

        process.send_signal(signal.SIGTERM)
        await until_status(health, "/readyz", 503)
        context = client_context(cluster.cluster_ca.pem, cluster.front_proxy)
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            answer = await client.get(f"https://127.0.0.1:{port}{DISCOVERY}", headers=ALICE)
        assert answer.status_code == 200
        assert await status(health, "/livez") == 200

        _, errors = await process.communicate()
        assert process.returncode == 0, errors
    lines = [json.loads(line) for line in errors.splitlines()]
    assert {"request-header configuration read", "certificates loaded", "stopping"} <= {
        line["message"] for line in lines
    }


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TFPOD_ADAPTER_PORT": "https", "TFPOD_ADAPTER_LOG_LEVEL": "loud"}, "TFPOD_ADAPTER_LOG_LEVEL"),
        ({"TFPOD_ADAPTER_PROT": "1"}, "TFPOD_ADAPTER_PROT"),
        ({}, "KUBERNETES_SERVICE_HOST: not set"),
    ],
)
async def test_settings_that_cannot_be_used_are_named(environment: dict[str, str], message: str) -> None:
    async with program({"PATH": os.environ["PATH"]} | environment) as process:
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert message in errors.decode()
