"""The port that is not public: metrics, and what the kubelet asks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from service.metrics import CONTENT_TYPE, Metrics


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes ask: each returns None if all is well, else what is wrong."""

    live: Callable[[], str | None]
    ready: Callable[[], str | None]


def admin(metrics: Metrics, health: Health) -> ASGIApp:
    """Return the application of the port that is not public: metrics and probes."""

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def probe(ask: Callable[[], str | None]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            fault = ask()
            return Response(fault or "ok", 503 if fault else 200, media_type="text/plain")

        return answer

    return Router(
        [
            Route("/metrics", show_metrics),
            Route("/livez", probe(health.live)),
            Route("/readyz", probe(health.ready)),
        ],
        redirect_slashes=False,
    )
