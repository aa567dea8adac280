"""The client of the API server: the three questions that the adapter has for it."""

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from service.adapter.answers import Refusal

MAX_PODS: Final = 1000
PAGE: Final = 100
MAX_BODY: Final = 32 << 20
TIMEOUT: Final = 3.0

T = TypeVar("T")


class Pod(msgspec.Struct, frozen=True):
    """A pod to be scraped."""

    uid: str
    name: str
    url: str


class Kube:
    """Speaks to the API server at `url` with the service account of folder `account`.

    Every method raises Refusal 503 where the API server cannot be reached, is too slow or refuses.
    """

    def __init__(self, url: str, account: Path) -> None:
        self._token = account / "token"
        self._client = httpx.AsyncClient(
            base_url=url,
            verify=ssl.create_default_context(cafile=str(account / "ca.crt")),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "tfpod-adapter"},
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=32),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Return the data of a ConfigMap."""
        found = await self._call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}", _ConfigMap)
        return found.data or {}

    async def allowed(self, spec: dict[str, Any]) -> bool:
        """Return the answer to a SubjectAccessReview."""
        body = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return (await self._call("POST", path, _Review, content=msgspec.json.encode(body))).status.allowed

    async def pods(self, namespace: str, name: str, selector: str, port: str) -> list[Pod]:
        """Return the ready pods with a container port named `port`; `name` may be "*".

        Left out: terminating pods, and those in the network of their node, whose address is not theirs alone.
        Raises Refusal 400 for a selector that the API server doesn't accept or that matches too many pods.
        """
        fields = "status.phase=Running" + ("" if name == "*" else f",metadata.name={name}")
        params = {"labelSelector": selector, "fieldSelector": fields, "limit": str(PAGE)}
        found: list[Pod] = []
        for _ in range(MAX_PODS // PAGE):
            page = await self._call("GET", f"/api/v1/namespaces/{namespace}/pods", _PodList, params=params)
            found += [pod for item in page.items or () if (pod := _scrapable(item, port))]
            if not page.metadata.next:
                return found
            params["continue"] = page.metadata.next
        raise Refusal(400, "BadRequest", f"selector {selector!r} matches more than {MAX_PODS} pods")

    async def _call(self, method: str, path: str, answer: type[T], **request: Any) -> T:
        """Send a request and return its answer as an `answer`."""
        try:
            headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}  # it is renewed every hour
            async with (
                asyncio.timeout(TIMEOUT),
                self._client.stream(method, path, headers=headers, **request) as response,
            ):
                body = await read(response, MAX_BODY)
            if response.status_code == 400:
                raise Refusal(400, "BadRequest", msgspec.json.decode(body, type=_Status).message)
            if not response.is_success:
                raise _unavailable(f"answered {method} {path} with {response.status_code}")
            return msgspec.json.decode(body, type=answer)
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise _unavailable(f"did not answer {method} {path}: {error!r}") from error


async def read(response: httpx.Response, limit: int) -> bytes:
    """Return the body as it came; raises ValueError as soon as it exceeds `limit` bytes or if it is compressed."""
    if "content-encoding" in response.headers:
        raise ValueError("the answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise ValueError(f"the answer is longer than {limit} bytes")
    return bytes(body)


def _unavailable(what: str) -> Refusal:
    return Refusal(503, "ServiceUnavailable", f"the API server {what}")


def _scrapable(pod: "_Pod", port_name: str) -> Pod | None:
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or ())
    if not ready or pod.metadata.deleted or pod.spec.host_network or not pod.status.ip:
        return None
    ports = (port for container in pod.spec.containers for port in container.ports or ())
    number = next((port.number for port in ports if port.name == port_name), None)
    if number is None:
        return None
    host = f"[{pod.status.ip}]" if ":" in pod.status.ip else pod.status.ip
    return Pod(pod.metadata.uid, pod.metadata.name, f"http://{host}:{number}/metrics")


# Of the API's objects, what is read here.


class _Status(msgspec.Struct):
    message: str = ""


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] | None = None


class _Allowed(msgspec.Struct):
    allowed: bool


class _Review(msgspec.Struct):
    status: _Allowed


class _ListMeta(msgspec.Struct):
    next: str = msgspec.field(default="", name="continue")


class _ObjectMeta(msgspec.Struct):
    name: str
    uid: str
    deleted: str | None = msgspec.field(default=None, name="deletionTimestamp")


class _Port(msgspec.Struct):
    number: int = msgspec.field(name="containerPort")
    name: str = ""


class _Container(msgspec.Struct):
    ports: list[_Port] | None = None


class _Spec(msgspec.Struct):
    containers: list[_Container]
    host_network: bool = msgspec.field(default=False, name="hostNetwork")


class _Condition(msgspec.Struct):
    type: str
    status: str


class _PodStatus(msgspec.Struct):
    conditions: list[_Condition] | None = None
    ip: str = msgspec.field(default="", name="podIP")


class _Pod(msgspec.Struct):
    metadata: _ObjectMeta
    spec: _Spec
    status: _PodStatus


class _PodList(msgspec.Struct):
    metadata: _ListMeta
    items: list[_Pod] | None = None
