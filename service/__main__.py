"""`python -m service`: settings → logs → pod → serve. The only reader of the environment and of signals."""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import re
import resource
import signal
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import msgspec
import uvloop

from service import logs
from service.app import Pod
from service.check import check
from service.door.tokens import Tokens
from service.door.trail import Tracer
from service.net.connections import Patience
from service.net.drain import Drain, DrainingServer
from service.net.server import listen
from service.settings import Settings, SettingsError, read

_PREFIX: Final = "TFPOD_"
_CHECK: Final = "check"
#: Not settings of the pod: other programs' of this project, and what Kubernetes sets for Services of such a name.
_FOREIGN: Final = re.compile(
    r"TFPOD_((ADAPTER|CLUSTER|E2E)_\w+|(\w+_)?SERVICE_(HOST|PORT\w*)|(\w+_)?PORT_\d+_\w+)=.*|\w+=(tcp|udp)://.*"
)

#: Descriptors for everything but the API's connections: the other port, the model's files, the libraries.
_SPARE: Final = 256

_log = logging.getLogger("tfpod")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status: 1 if serving failed, 2 for settings of no use."""
    given = {k: v for k, v in environment.items() if k.startswith(_PREFIX) and not _FOREIGN.fullmatch(f"{k}={v}")}
    options = _options(arguments)
    checks = bool(options.pop(_CHECK, ""))
    try:
        settings = read(Settings, given | options, _PREFIX)
        logs.configure(settings.log_level)
        tracing = _tracing(settings)
    except SettingsError as error:
        return _told(error.faults, 2)
    if checks:
        return _checked(settings)
    try:
        return uvloop.run(_serve(settings, tracing))
    except (OSError, UnicodeError) as error:  # the latter for a host that is no name
        _log.error("cannot serve", extra={"reason": str(error)})
        return 1
    finally:
        if tracing:
            tracing.close()


async def _serve(settings: Settings, tracer: Tracer | None) -> int:
    """Run the pod's servers; the admin port is the last to go, so that the drain can be watched."""
    failures: list[BaseException] = []

    def loaded(error: BaseException | None) -> None:
        if error is None:
            _collect_less()
            return
        _log.error("a model cannot be served", extra={"reason": str(error)})
        failures.append(error)
        for server in public:
            server.stop()

    def end() -> None:
        pod.draining = True
        for server in public:
            server.drain()

    pod = Pod(settings, version(), loaded, tracer=tracer)
    patience = Patience(settings.header_timeout, settings.keep_alive, _connections(settings))
    drain = Drain(settings.drain_delay, settings.drain_timeout)
    api = DrainingServer(pod.api, listen(settings.host, settings.port), patience, drain)
    patient = replace(patience, connections=_SPARE // 2)
    admin = DrainingServer(pod.admin, listen(settings.host, settings.admin_port), patient, Drain(0.0, 1.0))
    servers, public = {"api": api, "admin": admin}, [api]
    if pod.rpcs:
        from service.net.http2 import Http2  # noqa: PLC0415 - an option, of which nothing is in memory otherwise

        rpcs = DrainingServer(pod.rpcs, listen(settings.host, settings.grpc_port), patience, drain, Http2)
        servers["grpc"], public = rpcs, [api, rpcs]
        api.before = asyncio.create_task(rpcs.run_until_stopped())
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, end)
    for name, server in servers.items():
        _log.info("listening", extra={"server": name, "host": server.address[0], "port": server.address[1]})
    watching = asyncio.create_task(admin.run_until_stopped())
    await api.run_until_stopped()
    admin.stop()
    await watching
    return 1 if failures else 0


def _connections(settings: Settings) -> int:
    """Return how many clients each server may have: as many as may be, and as there are descriptors for."""
    return min(settings.max_connections, (_descriptors() - _SPARE) // (2 if settings.grpc else 1))


def _collect_less() -> None:
    """Have the garbage collector look less often at what comes: a large body, while it is decoded, is many lists."""
    gc.set_threshold(50_000, 10, 100)


def _descriptors() -> int:
    """Raise the limit of open files as far as this process may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # where "unlimited" is more than the system has
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def version() -> str:
    """Return the project's version, which stands in pyproject.toml alone."""
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()
    return str(tomllib.loads(text)["project"]["version"])


def _checked(settings: Settings) -> int:
    """Print what would be served, or all that is wrong; return the exit status, as `main` does."""
    tokens = Tokens(settings.tokens_file)
    if tokens.fault:
        return _told([f"{_PREFIX}TOKENS_FILE: {tokens.fault}"], 2)
    report = uvloop.run(check(settings, tokens))
    sys.stdout.writelines(f"{line}\n" for line in report.lines)
    return _told(report.faults, 1) if report.faults else 0


def _told(faults: Sequence[str], status: int) -> int:
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return status


def _tracing(settings: Settings) -> Tracer | None:
    """Return what makes spans, if that is wanted. Raises SettingsError if it cannot be had."""
    if not settings.tracing:
        return None
    try:
        from service.door.tracing import Tracing  # noqa: PLC0415 - the packages are an option, and take their time

        return Tracing(version())
    except ImportError as error:
        raise SettingsError([f"{_PREFIX}TRACING: needs the packages of requirements/tracing.txt: {error}"]) from error
    except ValueError as error:
        raise SettingsError([f"{_PREFIX}TRACING: {error}"]) from error


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the settings given as options, by the names that they have in the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        usage="%(prog)s [--check] [--SETTING VALUE …]",
        description="Serve TensorFlow models over HTTP.",
        allow_abbrev=False,
    )
    what = "load the models, print what would be served and end, with 1 if a model is of no use, 2 if a setting is"
    parser.add_argument("--check", dest=_CHECK, action="store_const", const="yes", help=what)
    for field in msgspec.structs.fields(Settings):
        name = _PREFIX + field.name.upper()
        meaning = next(text for text in get_args(field.type) if isinstance(text, str))
        default = f", default {field.default}" if field.default != "" else ""
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", dest=name, metavar="VALUE", help=f"{meaning} ({name}{default})"
        )
    return {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
