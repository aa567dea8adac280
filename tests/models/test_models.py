"""Which version is served, what is said of a model before it is ready, and of one that never will be."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.errors import NotFound, NotReady
from service.models.models import Load, ModelError
from service.types import Call, VersionState
from tests.echo import Echo, Loader, loading, models, saved, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (["1"], "1"),
        (["9", "10", "2"], "10"),
        (["3", "0012"], "12"),
        (["0"], "0"),
        (["1700000000000"], "1700000000000"),
        (["2", "v3", "4.5", "-5", "٦", ".7", "8-tmp", "latest"], "2"),
        (["5", "9" * 19], "5"),  # larger than the wire's 64 bits
    ],
)
async def test_the_highest_version_is_served(tmp_path: Path, versions: list[str], newest: str) -> None:
    with models(Echo, m=saved(tmp_path, *versions)) as made:
        await made.load()
        assert made.get("m").version == newest
        assert made.get("m", int(newest)) is made.get("m")


async def test_a_version_may_be_a_link_and_a_file_is_none(tmp_path: Path) -> None:
    saved(tmp_path, "data", "1")
    (tmp_path / "2").symlink_to(tmp_path / "data")
    (tmp_path / "3").touch()
    with models(Echo, m=tmp_path) as made:
        await made.load()
        assert made.get("m").version == "2"


async def test_a_bare_saved_model_is_version_one(tmp_path: Path) -> None:
    folders: list[Path] = []

    def load(folder: Path) -> Echo:
        folders.append(folder)
        return Echo(folder)

    with models(load, m=saved(tmp_path, "bare") / "bare") as made:
        await made.load()
        assert (made.get("m").version, folders) == ("1", [tmp_path / "bare"])


def broken(_: Path) -> Any:
    """Fail as TensorFlow does: at length."""
    raise OSError("Cannot parse file\n  line 2\n" + "x" * 10_000)


def stopped(_: Path) -> Any:
    """Fail in a manner that threads let pass in silence."""
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("path", "load", "text"),
    [
        ("missing", Echo, "model 'm' at {}: FileNotFoundError: there is no such folder"),
        ("file", Echo, "model 'm' at {}: FileNotFoundError: there is no such folder"),
        ("empty", Echo, "model 'm' at {}: FileNotFoundError: neither a model nor a folder of numbered versions"),
        (
            "half",
            Echo,
            "model 'm' at {}: version 3 has none of saved_model.pb, model.keras, model.tflite: it is not complete",
        ),
        ("bare", broken, "model 'm' at {}: OSError: Cannot parse file line 2 xxx"),
        ("bare", stopped, "model 'm' at {}: SystemExit: 3"),
    ],
)
async def test_a_model_that_cannot_be_served_is_named_with_path_and_cause_in_one_line(
    tmp_path: Path, path: str, load: Load, text: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "v1").mkdir(parents=True)
    saved(tmp_path, "bare")
    (tmp_path / "half" / "3" / "variables").mkdir(parents=True)
    with models(load, m=tmp_path / path) as made:
        with pytest.raises(ModelError) as caught:
            await made.load()
        said = str(caught.value)
        assert said.startswith(text.format(tmp_path / path))
        assert "\n" not in said
        assert len(said) < 1000
        assert not made.ready


async def test_a_missing_folder_is_told_before_any_model_is_loaded(tmp_path: Path) -> None:
    loader = Loader()
    with models(loader, fine=saved(tmp_path, "1"), gone=tmp_path / "gone") as made:
        with pytest.raises(ModelError, match="'gone'"):
            await made.load()
        assert loader.begun == []


async def test_ready_is_told_only_once_all_are_and_each_is_served_as_soon_as_it_is(tmp_path: Path) -> None:
    loader = Loader()
    with models(loader, a=saved(tmp_path / "a", "1"), b=saved(tmp_path / "b", "7")) as made:
        assert (made.names, made.ready) == (["a", "b"], False)
        async with loading(made) as task:
            loader.go()
            await until(lambda: len(loader.begun) == 2)
            assert (made.get("a").version, made.ready) == ("1", False)
            with pytest.raises(NotReady, match="model 'b' is being loaded") as caught:
                made.get("b")
            assert caught.value.retry_after == 5
            assert made.index() == [VersionState("a", "1", "AVAILABLE"), VersionState("b", "7", "LOADING")]
            loader.go()
            await task
        assert made.ready
        assert made.states("b", 7) == [VersionState("b", "7", "AVAILABLE")]
        assert made.states("b")[0].ready


async def test_what_is_not_served_is_not_found_as_tensorflow_serving_words_it(tmp_path: Path) -> None:
    loader = Loader()
    with models(loader, m=saved(tmp_path, "2", "10")) as made:
        with pytest.raises(NotReady):
            made.get("m", 3)  # nobody has looked yet
        async with loading(made) as task:
            await until(lambda: loader.begun)
            with pytest.raises(NotReady):
                made.get("m", 2)  # for it may come to that
            assert [(state.version, state.state) for state in made.states("m")] == [("10", "LOADING"), ("2", "START")]
            loader.go()
            await task
        for name, version, text in (("x", None, "Latest(x)"), ("x", 7, "Specific(x, 7)"), ("m", 2, "Specific(m, 2)")):
            with pytest.raises(NotFound) as caught:
                made.get(name, version)
            assert str(caught.value) == f"Servable not found for request: {text}"
        with pytest.raises(NotFound, match=r"^Could not find any versions of model x$"):
            made.states("x")
        with pytest.raises(NotFound, match=r"^Could not find version 2 of model m$"):
            made.states("m", 2)


async def test_the_gauges_speak_of_all_models_together(tmp_path: Path) -> None:
    registry, gate, hanging = CollectorRegistry(), threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        if threading.current_thread().name == "model":
            hanging.set()
            assert gate.wait(60)

    with models(
        lambda folder: Echo(folder, before=hang), registry, a=saved(tmp_path / "a", "1"), b=saved(tmp_path / "b", "1")
    ) as made:
        assert (made.stuck_for(), registry.get_sample_value("tfpod_queue_rows")) == (0.0, 0.0)
        await made.load()
        call = Call("serving_default", {"x": np.ones((3, 3), np.float32)})
        deadline = asyncio.get_running_loop().time() + 60
        callers = [asyncio.create_task(made.get(name).batcher.submit(call, deadline)) for name in ("a", "a", "b", "b")]
        await until(hanging.is_set)
        await until(lambda: registry.get_sample_value("tfpod_queue_rows") == 6)
        await until(lambda: made.stuck_for() > 0)
        assert 0 < (registry.get_sample_value("tfpod_model_busy_percent") or 0) <= 100
        gate.set()
        await asyncio.gather(*callers)
        assert (made.stuck_for(), registry.get_sample_value("tfpod_queue_rows")) == (0.0, 0.0)
