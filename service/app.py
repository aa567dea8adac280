"""The composition root: builds every part once and wires them."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service import cpus, routes
from service.batching.form import Batching
from service.door.admission import Admission, Limits
from service.door.tokens import Tokens
from service.door.trail import Tracer, Trail
from service.gpu import GpuReadings
from service.metrics import Metrics
from service.models.models import Load, ModelError, Models
from service.probes import Health, admin
from service.runners.litert import LiteRtRunner
from service.runners.tensorflow import TensorFlowRunner
from service.sessions import EVERYBODY, Caps, MemorySessions, RedisSessions, Sessions, owner_of
from service.settings import Settings
from service.types import Runner

#: A batch that takes this many times a request's time is taken for a model that hangs.
_HANGS: Final = 6
#: Seconds from one look at that to the next.
_LOOK: Final = 1.0
#: What web pages of other origins may do: all that a client needs, but send cookies.
_CORS: Final[dict[str, Any]] = {
    "allow_methods": ["GET", "POST"],
    "allow_headers": ["*"],
    "expose_headers": ["Inference-Header-Content-Length", "Retry-After", "X-Request-Id"],
}


class Pod:
    """Both applications: `api` is public, `admin` has metrics and probes. Set `draining` when the end begins."""

    def __init__(
        self,
        settings: Settings,
        version: str,
        done: Callable[[BaseException | None], None],
        load: Load | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Build the pod; its models are loaded once the API's lifespan begins.

        `done` is called when all models are ready, and with what keeps one from being served, then or later; `load`
        makes a runner of a model's folder.
        """
        self.draining = False
        self._settings, self._done = settings, done
        rpcs = _rpcs(settings)
        places = [*routes.PLACES, *(rpcs.PLACES.values() if rpcs else ())]
        metrics = Metrics(CollectorRegistry(), sorted({place.inference for place in places if place.inference}))
        self._gpu = GpuReadings()
        metrics.watch("tfpod_gpu_utilization_percent", self._gpu.utilization)
        metrics.watch("tfpod_gpu_memory_used_bytes", self._gpu.memory_used)
        self._models = models(settings, metrics, load or load_model)
        self._sessions = sessions(settings)
        self._decoder = ThreadPoolExecutor(1, "decoder")  # for files: small ones hold hours, and codecs need theirs
        tokens = Tokens(settings.tokens_file)
        health = Health(live=self._not_live, ready=self._not_ready)
        parts = {"models": self._models, "sessions": self._sessions, "health": health, "authorize": tokens.authorize}
        rules: Any = {"metrics": metrics, "authorize": tokens.authorize}
        app = routes.api(self._lifespan, version, owner=_owner(settings), decoder=self._decoder, **parts)
        door = Admission(app, limits=_limits(settings), find=routes.find, respond=routes.respond, **rules)
        shared = CORSMiddleware(door, settings.origins(), **_CORS) if settings.cors_origins else door
        trail = functools.partial(Trail, access_log=settings.access_log, tracer=tracer)
        self.api = trail(shared)
        #: The calls of gRPC, if they are served.
        self.rpcs = trail(_rpc_door(rpcs, rpcs.api(version, **parts), settings, door, rules)) if rpcs else None
        self.admin = admin(metrics, health)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        """Load beside serving: what is not loaded yet is answered with 503."""
        # Decoding needs several times the bytes of a body, and threads beyond the interpreter's lock gain nothing.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2, "codec"))
        models = asyncio.create_task(self._load_and_watch())
        try:
            yield
        finally:
            models.cancel()
            if self._sessions:
                await self._sessions.close()
            self._models.close()
            self._decoder.shutdown(wait=False, cancel_futures=True)
            self._gpu.stop()

    async def _load_and_watch(self) -> None:
        """Load all models, tell of it, and from then on keep up with them and with what is new in their folders."""
        try:
            await self._models.load()
        except Exception as error:  # noqa: BLE001 - whatever it is, the program is told
            self._done(error)
            return
        self._gpu.start()  # not before: an idle GPU of a pod that loads says nothing about the load
        self._done(None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_for_hangs())
            if self._settings.reload_interval:
                tasks.create_task(self._models.watch(self._settings.reload_interval))

    async def _watch_for_hangs(self) -> None:
        """Have the pod end itself when a model hangs: no request can cure it, and not everywhere are there probes."""
        while True:
            await asyncio.sleep(_LOOK)
            if fault := self._not_live():
                self._done(ModelError(fault))
                return

    def _not_ready(self) -> str | None:
        if self.draining:
            return "draining"
        if self._models.stuck_for() > self._settings.request_timeout:
            return "a model does not answer"
        return None if self._models.ready else "models are being loaded"

    def _not_live(self) -> str | None:
        stuck = self._models.stuck_for()
        hangs = stuck > _HANGS * self._settings.request_timeout
        return f"a model hangs: it has computed one batch for {stuck:.0f} s" if hangs else None


def models(settings: Settings, metrics: Metrics, load: Load) -> Models:
    """Return what is to be served, not loaded yet."""
    batching = Batching(
        max_rows=settings.max_batch_rows,
        max_queue_rows=settings.max_queue_rows,
        enabled=settings.batching,
        max_bytes=settings.max_batch_bytes,
        max_queue_bytes=settings.max_queue_bytes,
        timeout=settings.batch_timeout,
        sizes=settings.batch_sizes(),
        overload_wait=settings.overload_wait,
        stuck_after=settings.request_timeout,
    )
    return Models(settings.model_paths(), load, metrics, batching, settings.labels())


def sessions(settings: Settings) -> Sessions | None:
    """Return the store of sessions, if there are to be any."""
    if not (settings.sessions_url or settings.max_sessions):
        return None
    caps = Caps(settings.session_seconds, settings.max_sessions_per_token, settings.max_sessions)
    return RedisSessions(settings.sessions_url, caps) if settings.sessions_url else MemorySessions(caps)


def load_model(path: Path) -> Runner:
    """Make a runner of a SavedModel's folder, or of a .keras or .tflite file.

    A `model.tflite` beside a SavedModel (TensorFlow Serving's name for it) is for pods without TensorFlow.
    """
    lite = path / "model.tflite"
    if lite.is_file() and not find_spec("tensorflow"):
        path = lite
    runner = LiteRtRunner if path.suffix == ".tflite" else TensorFlowRunner
    return runner(path, cpus.available())


def _rpcs(settings: Settings) -> Any:
    """Return the table of gRPC, if that is wanted: an option, of which nothing is in memory otherwise."""
    if not settings.grpc:
        return None
    from service import rpcs  # noqa: PLC0415 - see above

    return rpcs


def _rpc_door(rpcs: Any, app: ASGIApp, settings: Settings, beside: Admission, rules: Any) -> Admission:
    limits = replace(_limits(settings), body_bytes=settings.max_binary_bytes)  # for that is what tensors are in
    return Admission(app, limits=limits, find=rpcs.find, respond=rpcs.respond, beside=beside, **rules)


def _owner(settings: Settings) -> Callable[[bytes], str]:
    """Return who an Authorization header makes the owner of a session: its token, if the pod asks for any."""
    return owner_of if settings.tokens_file else lambda _: EVERYBODY


def _limits(settings: Settings) -> Limits:
    return Limits(
        body_bytes=settings.max_body_bytes,
        binary_bytes=settings.max_binary_bytes,
        inflight_bytes=settings.max_inflight_bytes,
        inflight=settings.max_inflight,
        seconds=settings.request_timeout,
    )
