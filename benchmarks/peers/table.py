"""The table of contenders: how each is installed, started and asked.

The naive pod, http.server and the limits need nothing that the pod does not need too: they run in its environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from benchmarks.client import Target, post
from benchmarks.environments import environment
from benchmarks.programs import ROOT, Program, free_port
from benchmarks.workloads import Workload

BUILD: Final = ROOT / "build/bench"
MODELS: Final = BUILD / "models"
LITE_MODELS: Final = BUILD / "lite"


@dataclass(frozen=True)
class Contender:
    """A server. In its arguments, settings and path {port} is where it listens, {model} and {folder} what it serves."""

    name: str
    kind: Literal["pod", "naive", "peer", "limit"]
    environment: str
    #: Of the environment's Python.
    arguments: tuple[str, ...]
    path: str = "/predict"
    #: Asked by the Open Inference Protocol, because it speaks nothing else.
    tensor: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    models: Path = MODELS

    def program(self, workload: Workload) -> Program:
        """Return the server with a workload's model, not started; raise InstallError without its environment."""
        python = environment(self.environment)
        (BUILD / "logs").mkdir(parents=True, exist_ok=True)
        names = _Names(
            port=str(free_port()),
            model=workload.name,
            folder=str(workload.folder(self.models)),
            cores=str(os.cpu_count() or 1),
        )
        common = {
            "BENCH_MODEL": str(workload.folder(self.models) / "1"),
            "BENCH_SHAPE": ",".join(map(str, workload.shape)),
            "BENCH_PORT": names["port"],
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        if self.kind == "peer":
            common |= threads(workload.threads)
        return Program(
            [str(python), *(argument.format_map(names) for argument in self.arguments)],
            common | {name: value.format_map(names) for name, value in self.settings.items()},
            f"http://127.0.0.1:{names['port']}{self.path.format_map(names)}",
            workload.tensor() if self.tensor else workload.rows(),
            log=BUILD / f"logs/{self.name}.log",
        )


def target(program: Program) -> Target:
    """Return where and what to ask a program of this table."""
    return post(program.url, program.body)


def threads(count: int) -> dict[str, str]:
    """Return what tells TensorFlow to use so many threads; 0 leaves it as it is.

    Peers get what is best for the model. The naive pod has what there is, and the pod finds it out by itself.
    """
    return {name: str(count) for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}


class _Names(dict[str, str]):
    """Whatever else is named is one more port."""

    def __missing__(self, name: str) -> str:
        self[name] = str(free_port())
        return self[name]


_POD: Final = {
    "TFPOD_HOST": "127.0.0.1",
    "TFPOD_PORT": "{port}",
    "TFPOD_ADMIN_PORT": "{admin_port}",
    "TFPOD_MODELS": "{model}={folder}",
    "TFPOD_DRAIN_DELAY": "1",  # as long as clients are sent to what has had a SIGTERM, and a little more
}
_MLSERVER: Final = {
    "MLSERVER_HOST": "127.0.0.1",
    "MLSERVER_HTTP_PORT": "{port}",
    "MLSERVER_GRPC_PORT": "{grpc_port}",
    "MLSERVER_METRICS_PORT": "{metrics_port}",
    "MLSERVER_PARALLEL_WORKERS": "0",  # workers of their own cost this model more than it takes
    "MLSERVER_DEBUG": "false",
    "MLSERVER_MODEL_NAME": "peer",
    "MLSERVER_MODEL_IMPLEMENTATION": "benchmarks.peers.mlserver.Peer",
    "MLSERVER_MODEL_MAX_BATCH_SIZE": "64",
    "MLSERVER_MODEL_MAX_BATCH_TIME": "0.002",
}


def _uvicorn(app: str) -> tuple[str, ...]:
    listen = ("--host", "127.0.0.1", "--port", "{port}", "--backlog", "2048")
    return ("-m", "uvicorn", *listen, "--log-level", "warning", "--no-access-log", f"benchmarks.peers.{app}")


def _module(name: str) -> tuple[str, ...]:
    return ("-m", f"benchmarks.peers.{name}")


_SERVICE: Final = ("-m", "service")
_PREDICT: Final = "/v1/models/{model}:predict"
# gunicorn's arbiter would take a worker that was stopped for a while for a dead one.
_GUNICORN: Final = (
    "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "{cores}", "--threads", "16", "--timeout", "0",
    "--log-level", "warning", "benchmarks.peers.flask:app",
)  # fmt: skip
_BENTOML: Final = ("-m", "bentoml", "serve", "benchmarks.peers.bentoml:Peer", "--host", "127.0.0.1", "--port", "{port}")
_INFER: Final = "/v2/models/peer/infer"

TFPOD: Final = Contender("tfpod", "pod", "cpu", _SERVICE, _PREDICT, settings=_POD)
TFPOD_LITERT: Final = Contender("tfpod, LiteRT", "pod", "litert", _SERVICE, _PREDICT, settings=_POD, models=LITE_MODELS)
NAIVE: Final = Contender("naive pod", "naive", "cpu", _uvicorn("naive:app"))
UVICORN: Final = Contender("uvicorn, constant answer", "limit", "cpu", _uvicorn("constant:bare"))
UVICORN_JSON: Final = Contender("uvicorn, JSON read and written", "limit", "cpu", _uvicorn("constant:bare_json"))
STARLETTE: Final = Contender("Starlette, constant answer", "limit", "cpu", _uvicorn("constant:framed"))
STARLETTE_JSON: Final = Contender("Starlette, JSON read and written", "limit", "cpu", _uvicorn("constant:framed_json"))

PODS: Final = (TFPOD, TFPOD_LITERT)
PEERS: Final = (
    NAIVE,
    Contender("http.server", "peer", "cpu", _module("httpserver")),
    Contender("Flask + gunicorn", "peer", "flask", _GUNICORN),
    Contender("LitServe", "peer", "litserve", _module("litserve")),
    Contender("BentoML", "peer", "bentoml", _BENTOML,
        settings={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(BUILD / "bentoml")}),
    Contender("MLServer", "peer", "mlserver", ("-m", "mlserver.cli.main", "start", str(BUILD / "mlserver")), _INFER,
        tensor=True, settings=_MLSERVER),
    Contender("KServe", "peer", "kserve", _module("kserve"), "/v1/models/peer:predict"),
    Contender("Ray Serve", "peer", "ray", _module("ray"), settings={"RAY_USAGE_STATS_ENABLED": "0"}),
    Contender("PyTriton", "peer", "pytriton", _module("pytriton"), _INFER, tensor=True),
)  # fmt: skip
LIMITS: Final = (UVICORN, UVICORN_JSON, STARLETTE, STARLETTE_JSON)
ALL: Final = (*PODS, *PEERS, *LIMITS)
