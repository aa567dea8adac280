"""Reads the metrics of pods, all at once, trusting none of them."""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Iterable
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import msgspec

from service.adapter.answers import METRICS
from service.adapter.kube import Pod, read
from service.adapter.once import Once

TIMEOUT: Final = 1.0
KEPT: Final = 1.0
MAX_BODY: Final = 64 << 10
#: How many pods are read at the same time.
AT_ONCE: Final = 64
HEADERS: Final = {
    "Accept": "text/plain",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "tfpod-adapter",
}

_LINE: Final = re.compile(rf"^({'|'.join(METRICS)})(?:{{[ \t]*}})?[ \t]+([^ \t\r\n]+)", re.MULTILINE)

logger = logging.getLogger("tfpod.adapter")


class Reading(msgspec.Struct, frozen=True):
    """What a pod said, and when (Unix time): thousandths by metric."""

    time: float
    values: dict[str, int]


class Scraper:
    """Reads pods over plain HTTP, without credentials, cookies, proxies or redirects."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # unused; the default would load every public CA
            headers=HEADERS,
            limits=httpx.Limits(max_keepalive_connections=0),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=False,
        )
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._readings = Once[Pod, Reading | None](KEPT, limit=4096)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def read(self, pods: Iterable[Pod]) -> dict[str, Reading]:
        """Return a reading, at most `KEPT` seconds old, by pod name; a pod that gives none is left out."""
        asked = {pod.name: self._readings.get(pod, partial(self._read, pod)) for pod in pods}
        readings = await asyncio.gather(*asked.values())
        return {name: reading for name, reading in zip(asked, readings, strict=True) if reading}

    async def _read(self, pod: Pod) -> Reading | None:
        try:
            async with self._slots, asyncio.timeout(TIMEOUT):
                text = await self._fetch(pod.url)
        except (httpx.HTTPError, OSError, ValueError) as error:
            logger.warning("pod not scraped", extra={"pod": pod.name, "url": pod.url, "reason": repr(error)})
            return None
        return Reading(time.time(), parse(text))

    async def _fetch(self, url: str) -> str:
        async with self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise ValueError(f"answered {response.status_code}")
            return (await read(response, MAX_BODY)).decode(errors="replace")


def parse(text: str) -> dict[str, int]:
    """Return the metrics found in Prometheus text format, in thousandths, the finest that an HPA sees.

    A series with labels is none of these metrics: a pod has one value of each. A value that is no number, negative
    or beyond 64 bits is no value.
    """
    found = {}
    for name, value in _LINE.findall(text):
        try:
            number = float(value)
        except ValueError:
            continue
        if 0 <= number < 2**63 / 1000:
            found[name] = round(number * 1000)
    return found
