"""What the adapter meets in a cluster, small but real: certificates, an API server over TLS, pods over HTTP."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.net.server import Server, listen

TOKEN = "the-service-account's-token"
CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def until(condition: Callable[[], Any]) -> None:
    """Wait for `condition`; the test's own time limit bounds it."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


class Authority:
    """A certificate authority; `pem` is its certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        certificate = _builder(self._name, self._name, self._key).add_extension(constraint, critical=True)
        self.pem = certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, *common_names: str, server: bool = False, to: str = "") -> tuple[Path, Path]:
        """Return the files of a certificate, for clients or for a server on the loopback addresses, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names])
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
        certificate = (
            _builder(name, self._name, key)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file, key_file = (self._folder / f"{to or '-'.join(common_names)}.{kind}" for kind in ("crt", "key"))
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pkcs8 = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *pkcs8))
        return cert_file, key_file


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


class ApiServer:
    """The three answers of the API server that the adapter needs, from what a test puts here."""

    def __init__(self, front_ca: str) -> None:
        self.front_proxy = {
            "requestheader-client-ca-file": front_ca,
            "requestheader-allowed-names": '["front-proxy"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
        self.pods: list[dict[str, Any]] = []
        self.token = TOKEN
        self.allowed = True
        self.reviews: list[dict[str, Any]] = []
        self.lists: list[dict[str, str]] = []
        self.config_reads = 0
        #: What to wait for before answering, and a status to answer with instead.
        self.pause: Callable[[], Awaitable[Any]] | None = None
        self.broken: int | None = None

    @asynccontextmanager
    async def serving(self, cert_file: Path, key_file: Path) -> AsyncIterator[str]:
        """Serve; gives the address."""
        routes = [
            Route(CONFIG_MAP, self._config_map),
            Route(REVIEWS, self._review, methods=["POST"]),
            Route("/api/v1/namespaces/{namespace}/pods", self._list),
        ]
        listener = listen("", 0)
        server = Server(
            Starlette(routes=routes),
            lifespan="off",
            ssl_certfile=cert_file,
            ssl_keyfile=key_file,
            timeout_graceful_shutdown=1,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
            server.stop()

    async def _config_map(self, request: Request) -> Response:
        self.config_reads += 1
        return await self._answer(request, lambda: {"kind": "ConfigMap", "data": self.front_proxy})

    async def _review(self, request: Request) -> Response:
        review = await request.json()
        self.reviews.append(review)
        return await self._answer(request, lambda: review | {"status": {"allowed": self.allowed}}, 201)

    async def _list(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.lists.append(query)
        if query["labelSelector"] == "!!":
            message = 'unable to parse requirement: found "!"'
            return JSONResponse({"kind": "Status", "message": message, "code": 400}, 400)
        return await self._answer(request, lambda: self._page(request.path_params["namespace"], query))

    async def _answer(self, request: Request, body: Callable[[], Any], code: int = 200) -> Response:
        if self.pause:
            await self.pause()
        if self.broken or request.headers["authorization"] != f"Bearer {self.token}":
            return JSONResponse({"kind": "Status", "code": self.broken or 401}, self.broken or 401)
        return JSONResponse(body(), code)

    def _page(self, namespace: str, query: dict[str, str]) -> dict[str, Any]:
        fields = dict(term.split("=") for term in query["fieldSelector"].split(","))
        labels = dict(term.split("=") for term in query["labelSelector"].split(",") if term)
        found = [
            pod
            for pod in self.pods
            if pod["metadata"]["namespace"] == namespace
            and pod["status"]["phase"] == fields["status.phase"]
            and pod["metadata"]["name"] == fields.get("metadata.name", pod["metadata"]["name"])
            and labels.items() <= pod["metadata"]["labels"].items()
        ]
        begin, size = int(query.get("continue", 0)), int(query["limit"])
        more = {"continue": str(begin + size)} if begin + size < len(found) else {}
        return {"kind": "PodList", "metadata": {"resourceVersion": "1"} | more, "items": found[begin : begin + size]}


class PodServer:
    """A pod's HTTP server: sends `answer`, byte for byte, piece by piece; keeps the requests it got."""

    def __init__(self, *answer: bytes | float, endless: bool = False) -> None:
        self.answer = answer
        self.endless = endless
        self.requests: list[str] = []
        self.sent = 0
        self.address = ("", 0)

    @asynccontextmanager
    async def serving(self, host: str) -> AsyncIterator["PodServer"]:
        """Serve on a port of `host`."""
        server = await asyncio.start_server(self._serve, host, 0)
        self.address = server.sockets[0].getsockname()[:2]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            while True:
                for piece in self.answer:
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                        self.sent += len(piece)
                    else:
                        await asyncio.sleep(piece)
                if not self.endless:
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def page(text: str, head: str = "200 OK\r\nContent-Type: text/plain") -> bytes:
    """Return an HTTP answer."""
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


def pod(name: str, address: tuple[str, int] = ("127.0.0.9", 9), **changes: Any) -> dict[str, Any]:
    """Return a ready pod as the API server gives it, with `metadata=`, `spec=`, `status=` merged in."""
    ports = [{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": address[1]}]
    whole: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "web", "uid": f"uid-{name}", "labels": {"app": "model"}},
        "spec": {"containers": [{"name": "sidecar"}, {"name": "server", "ports": ports}]},
        "status": {
            "phase": "Running",
            "podIP": address[0],
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
        },
    }
    for part, change in changes.items():
        whole[part] |= change
    return whole


def client_context(serving_ca: str, identity: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Return a client's TLS context, with its certificate and key if it has any."""
    context = ssl.create_default_context(cadata=serving_ca)
    if identity:
        context.load_cert_chain(*identity)
    return context
