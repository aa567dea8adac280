"""What the composition root does by itself: the order of things."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from service import app
from service.settings import Settings
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
