"""What the composition root does by itself: the order of things."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from service import app
from service.settings import Settings
from tests.echo import put
from tests.serving import serving
from tests.test_routes import Doubler

pytestmark = pytest.mark.anyio


class Readings:
    """GPU readings that note when they were begun and ended."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def utilization(self) -> float | None:
        return None

    def memory_used(self) -> int | None:
        return None


async def test_gpus_are_read_from_the_moment_the_models_are_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a pod loads they are idle, which would count against the load for the time of a mean."""
    readings, let, ready = Readings(), threading.Event(), asyncio.Event()
    monkeypatch.setattr(app, "GpuReadings", lambda: readings)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()

    def load(_: Path) -> Any:
        let.wait()
        return Doubler()

    pod = app.Pod(Settings(models=f"m={tmp_path}"), "0", lambda _: ready.set(), load)
    async with serving(pod.api):
        await asyncio.sleep(0.05)
        assert readings.calls == []
        let.set()
        await ready.wait()
        assert readings.calls == ["start"]
    assert readings.calls == ["start", "stop"]


async def test_a_request_under_way_at_a_switch_is_answered_by_the_version_that_it_found(tmp_path: Path) -> None:
    ready, old = asyncio.Event(), Doubler()
    settings = Settings(models=f"m={put(tmp_path, '1')}", reload_interval=0.01)
    pod = app.Pod(settings, "0", lambda _: ready.set(), lambda path: old if path.name == "1" else Doubler())

    def infer(number: int) -> bytes:
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [number] * 3}]})
        return f"POST /v2/models/m/infer HTTP/1.1\r\nHost: pod\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    async with serving(pod.api) as served:
        await ready.wait()
        slow, other = await served.connect(), await served.connect()

        async def become(*expected: str) -> None:
            found: list[str] = []
            async with asyncio.timeout(60):
                while found != [*expected]:
                    _, _, answer = await other.ask(b"GET /v1/models/m HTTP/1.1\r\nHost: pod\r\n\r\n")
                    found = [f"{v['version']} {v['state']}" for v in json.loads(answer)["model_version_status"]]

        await slow.send(infer(14))
        await asyncio.to_thread(old.hanging.wait)
        put(tmp_path, "2")
        await become("2 AVAILABLE", "1 UNLOADING")
        status, _, answer = await other.ask(infer(1))
        assert (status, json.loads(answer)["model_version"]) == (200, "2")
        old.go.set()
        status, _, answer = await slow.answer()
        assert (status, json.loads(answer)["model_version"]) == (200, "1")
        await become("2 AVAILABLE", "1 END")
