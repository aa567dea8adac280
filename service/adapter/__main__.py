"""Starts the metrics adapter: settings, logs, sockets, and the way down after SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import uvloop

from service import logs
from service.adapter.app import create_api, create_probes
from service.adapter.auth import Auth
from service.adapter.door import Door
from service.adapter.kube import Kube
from service.adapter.scrape import Scraper
from service.adapter.settings import Settings
from service.net.server import Server, listen
from service.settings import SettingsError, read

logger = logging.getLogger("tfpod.adapter")


def main(environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT; raises SystemExit where the settings can't be used."""
    try:
        settings = read(Settings, environ, "TFPOD_ADAPTER_")
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
    except SettingsError as error:
        sys.exit("\n".join(error.faults))
    except KeyError as error:
        sys.exit(f"{error.args[0]}: not set; the adapter runs in a Kubernetes pod")
    logs.configure(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    uvloop.run(serve(settings, f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"))


async def serve(settings: Settings, api_server: str) -> None:
    """Serve; after a signal `/readyz` says so, and `drain_delay` later what was asked is finished and nothing taken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with aclosing(Kube(api_server, Path(settings.service_account))) as kube, aclosing(Scraper()) as scraper:
        auth = Auth(kube)
        api = create_api(auth, kube, scraper, settings.metrics_port_name)
        door = Door(api, auth, Path(settings.cert_file), Path(settings.key_file), listen("", settings.port))
        probes = Server(create_probes(lambda: door.ready and not stop.is_set()), lifespan="off")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.serve())
            tasks.create_task(probes.serve(sockets=[listen("", settings.health_port)]))
            await stop.wait()
            logger.info("stopping", extra={"drain_delay": settings.drain_delay})
            await asyncio.sleep(settings.drain_delay)
            door.close()
            probes.stop()


if __name__ == "__main__":
    main(os.environ)
