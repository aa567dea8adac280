"""The adapter's two applications: the custom metrics API, and the probes of the kubelet."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.adapter import answers
from service.adapter.answers import GROUP, METRICS, VERSIONS, Refusal
from service.adapter.auth import Auth, User
from service.adapter.kube import Kube, Pod
from service.adapter.once import Once
from service.adapter.scrape import KEPT, Scraper

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"\*|[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_MAX_SELECTOR: Final = 4096


def create_api(auth: Auth, kube: Kube, scraper: Scraper, port: str) -> ASGIApp:
    """Return the API: discovery for every user, metric values for who may get them, a Status for all else.

    `port` is the name of the container port that is scraped.
    """
    metrics = Metrics(auth, kube, scraper, port)
    base = f"/apis/{GROUP}"
    api = Starlette(
        routes=[
            Route("/apis", _json(answers.groups()), methods=["GET"]),
            Route(base, _json(answers.group()), methods=["GET"]),
            *(Route(f"{base}/{version}", _json(answers.resources(version)), methods=["GET"]) for version in VERSIONS),
            Route(base + "/{version}/namespaces/{namespace}/pods/{name}/{metric}", metrics.get),
        ],
        middleware=[Middleware(Authentication, auth)],
        exception_handlers=dict.fromkeys((Refusal, HTTPException, Exception), _failure),
    )
    api.router.redirect_slashes = False
    return api


def create_probes(ready: Callable[[], bool]) -> ASGIApp:
    """Return `/livez` and `/readyz`."""

    async def livez(_: Request) -> Response:
        return Response("ok")

    async def readyz(_: Request) -> Response:
        return Response("ok") if ready() else Response("not ready", 503)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


class Authentication:
    """Puts the user into the request's state, or answers 401 and hangs up."""

    def __init__(self, app: ASGIApp, auth: Auth) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request with a user through."""
        state = scope["state"]
        user = self._auth.user(state["certificate"], scope["headers"])
        if user is None:
            response = _status(Refusal(401, "Unauthorized", "only the API server's front proxy is let in"))
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        state["user"] = user
        await self._app(scope, receive, send)


class Metrics:
    """Answers for the values of a metric: permission, pods, readings."""

    def __init__(self, auth: Auth, kube: Kube, scraper: Scraper, port: str) -> None:
        self._auth = auth
        self._kube = kube
        self._scraper = scraper
        self._port = port
        self._pods = Once[tuple[str, str, str], list[Pod]](KEPT, limit=256)

    async def get(self, request: Request) -> Response:
        """Answer with the metric of every ready pod that gives it; with 404 where none does."""
        version, namespace, name, metric, selector = _question(request)
        user: User = request.state.user
        await self._auth.permit(user, version, namespace, name, metric)
        pods = await self._pods.get(
            (namespace, name, selector), lambda: self._kube.pods(namespace, name, selector, self._port)
        )
        readings = await self._scraper.read(pods)
        found = [
            (pod, reading.time, reading.values[metric])
            for pod, reading in sorted(readings.items())
            if metric in reading.values
        ]
        if not found:
            which = f"pods {name!r} with selector {selector!r} in namespace {namespace!r}"
            raise Refusal(404, "NotFound", f"no ready pod gives the metric {metric!r}: {which}")
        return _json(answers.values(version, namespace, metric, found))


def _question(request: Request) -> tuple[str, str, str, str, str]:
    """Return version, namespace, pod name or "*", metric, label selector; raises Refusal for what isn't served."""
    version, namespace, name, metric = (
        request.path_params[part] for part in ("version", "namespace", "name", "metric")
    )
    if version not in VERSIONS or not _NAMESPACE.fullmatch(namespace) or not _NAME.fullmatch(name):
        raise HTTPException(404)
    if metric not in METRICS:
        raise Refusal(404, "NotFound", f"the metric {metric!r} is not served; these are: {', '.join(METRICS)}")
    for unsupported in ("metricLabelSelector", "fieldSelector"):
        if request.query_params.get(unsupported):
            raise Refusal(400, "BadRequest", f"{unsupported} is not supported: a pod has one value of each metric")
    selector = request.query_params.get("labelSelector", "")
    if len(selector) > _MAX_SELECTOR:
        raise Refusal(400, "BadRequest", f"the labelSelector is longer than {_MAX_SELECTOR} characters")
    return version, namespace, name, metric, selector


async def _failure(request: Request, error: Exception) -> Response:
    match error:
        case Refusal():
            return _status(error)
        case HTTPException(status_code=405):
            return _status(Refusal(405, "MethodNotAllowed", f"{request.method} is not allowed here"))
        case HTTPException():
            return _status(Refusal(404, "NotFound", f"{request.url.path!r} is not served here"))
        case _:
            return _status(Refusal(500, "InternalError", "the adapter failed; its log says how"))


def _status(refusal: Refusal) -> Response:
    return _json(refusal.body(), refusal.code)


def _json(content: Any, code: int = 200) -> Response:
    return Response(msgspec.json.encode(content), code, media_type="application/json")
