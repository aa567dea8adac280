"""service/models/reload.py: what is taken up of a change on the disk, when, and what never harms what is served."""

import asyncio
import json
import logging
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.errors import InvalidRequest, NotFound, NotReady
from service.models.models import ModelError, Models
from service.types import Call, Runner, VersionState
from tests.clock import Clock
from tests.echo import Echo, Loader, loading, models, put, saved, sound, until
from tests.program import ROOT, get, program

pytestmark = pytest.mark.anyio
DIGITS = ROOT / "models" / "digits"


async def settle(made: Models) -> None:
    """Look twice: what the first look finds has come to rest at the second, if nobody changes it."""
    await made.refresh()
    await made.refresh()


def versions(made: Models, name: str = "m") -> dict[str, str]:
    """Return the states by version."""
    return {state.version: state.state for state in made.states(name)}


def told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """Return what was logged, with its reason."""
    return [f"{r.message}: {vars(r).get('reason')}" for r in caplog.records if r.levelno == level]


def loads(registry: CollectorRegistry) -> tuple[float | None, float | None]:
    """Return how many loads went well, and how many did not."""
    ok, failed = (
        registry.get_sample_value("tfpod_model_loads_total", {"model": "m", "result": result})
        for result in ("ok", "failed")
    )
    return ok, failed


async def gone(made: Models, runner: "weakref.ref[Runner]") -> None:
    """Look until a runner is gone, which may take its thread a moment."""
    for _ in range(1000):
        await made.refresh()
        if runner() is None:
            return
    raise AssertionError("it is still there")


# What is new


async def test_a_new_version_is_switched_to_and_the_old_one_let_go(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with models(sound, registry, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2")
        await made.refresh()
        assert made.get("m").version == "1"  # it may still be copied
        await made.refresh()
        assert made.get("m").version == "2"
        await until(lambda: versions(made) == {"2": "AVAILABLE", "1": "END"})
        with pytest.raises(NotFound, match=r"^Servable not found for request: Specific\(m, 1\)$"):
            made.get("m", 1)
        assert loads(registry) == (2, 0)
        assert registry.get_sample_value("tfpod_model_version", {"model": "m"}) == 2


async def test_the_old_version_serves_while_the_new_one_is_loaded(tmp_path: Path) -> None:
    loader = Loader()
    loader.go()
    with models(loader, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2")
        await made.refresh()
        look = asyncio.create_task(made.refresh())
        await until(lambda: len(loader.begun) == 2)
        assert (made.ready, made.get("m").version) == (True, "1")
        assert versions(made) == {"2": "LOADING", "1": "AVAILABLE"}
        with pytest.raises(NotReady):
            made.get("m", 2)
        loader.go()
        await look
        assert made.get("m").version == "2"


async def test_who_found_the_old_version_is_answered_by_it(tmp_path: Path) -> None:
    call = Call("serving_default", {"x": np.ones((1, 3), np.float32)})
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        with made.get("m") as old:
            put(tmp_path, "2")
            await settle(made)
            assert made.get("m").version == "2"
            assert versions(made) == {"2": "AVAILABLE", "1": "UNLOADING"}
            outputs = await old.batcher.submit(call, asyncio.get_running_loop().time() + 60)
            assert outputs["x"].tolist() == [[1, 1, 1]]
        await until(lambda: versions(made)["1"] == "END")


async def test_the_thread_and_the_runner_of_an_unloaded_version_go(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        (thread,) = {thread for thread in threading.enumerate() if thread.name == "model"} - threads
        runner = made.get("m").runner
        put(tmp_path, "2")
        await settle(made)
        await until(lambda: not thread.is_alive())
        await gone(made, runner)


async def test_of_several_new_versions_the_newest_is_loaded_alone(tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(path: Path) -> Echo:
        loaded.append(path.name)
        return Echo(path)

    with models(load, m=put(tmp_path, "1")) as made:
        await made.load()
        saved(tmp_path, "2", "3", "10")
        await settle(made)
        assert (made.get("m").version, loaded) == ("10", ["1", "10"])


async def test_a_version_whose_files_were_replaced_is_loaded_anew(tmp_path: Path) -> None:
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        before = made.get("m")
        runner = before.runner
        await settle(made)
        assert made.get("m") is before
        put(tmp_path, "1", "new weights")
        await settle(made)
        assert made.get("m") is not before
        assert made.get("m").version == "1"
        del before
        await gone(made, runner)


async def test_each_model_has_versions_of_its_own(tmp_path: Path) -> None:
    with models(sound, a=put(tmp_path / "a", "1"), b=put(tmp_path / "b", "1")) as made:
        await made.load()
        put(tmp_path / "b", "5")
        put(tmp_path / "a", "2", "broken")
        await settle(made)
        assert (made.get("a").version, made.get("b").version) == ("1", "5")


# What is broken, or not there yet


async def test_a_broken_version_is_refused_once_with_a_word_and_the_old_one_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    with models(sound, registry, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2", "broken")
        for _ in range(5):
            await made.refresh()
        reason = "OSError: the content is broken"
        assert made.states("m") == [VersionState("m", "2", "END", reason), VersionState("m", "1", "AVAILABLE")]
        assert told(caplog) == [f"a version cannot be served: {reason}"]
        assert {"model": "m", "version": "2"}.items() <= vars(caplog.records[-1]).items()
        assert loads(registry) == (1, 1)


async def test_a_broken_version_is_tried_again_when_its_files_have_changed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with models(sound, registry, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2", "broken")
        await settle(made)
        put(tmp_path, "2", "sound")
        await settle(made)
        assert made.get("m").version == "2"
        assert (made.states("m", 2), loads(registry)) == ([VersionState("m", "2", "AVAILABLE")], (2, 1))
        put(tmp_path, "3")
        await settle(made)
        await until(lambda: made.states("m", 2) == [VersionState("m", "2", "END")])


async def test_a_load_that_failed_is_tried_again_after_pauses_that_grow_up_to_a_bound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong may be with the disk, the network or the memory: the files do not change when it is over."""
    clock, registry = Clock(), CollectorRegistry()
    with models(sound, registry, clock=clock, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2", "broken")
        await settle(made)
        for number, pause in enumerate((10, 20, 40, 80, 160, 300, 300), start=1):
            assert vars(caplog.records[-1])["again_in"] == pause
            clock.now += pause - 1
            await settle(made)
            assert (len(told(caplog)), loads(registry)) == (number, (1, number))
            clock.now += 1
            await settle(made)
            assert (len(told(caplog)), loads(registry)) == (number + 1, (1, number + 1))
        assert made.get("m").version == "1"


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), MemoryError()])
async def test_a_version_that_could_not_be_loaded_for_a_while_is_served_after_all(
    tmp_path: Path, error: Exception
) -> None:
    clock, trouble = Clock(), [error]

    def load(path: Path) -> Echo:
        if path.name == "2" and trouble:
            raise trouble.pop()
        return Echo(path)

    with models(load, clock=clock, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2")
        await settle(made)
        assert versions(made) == {"2": "END", "1": "AVAILABLE"}
        clock.now += 10
        await made.refresh()
        assert made.get("m").version == "2"
        assert made.states("m", 2) == [VersionState("m", "2", "AVAILABLE")]


async def test_other_files_are_tried_at_once_and_make_the_pause_short_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with models(sound, clock=clock, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2", "broken")
        await settle(made)
        clock.now += 10
        await made.refresh()
        put(tmp_path, "2", "broken otherwise")
        await settle(made)
        assert [vars(record)["again_in"] for record in caplog.records] == [10, 20, 10]


async def test_what_was_not_complete_is_not_tried_again_for_the_time_that_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with models(sound, clock=clock, m=put(tmp_path, "1")) as made:
        await made.load()
        (tmp_path / "2").mkdir()
        await settle(made)
        clock.now += 1e6
        await settle(made)
        (line,) = caplog.records
        assert "again_in" not in vars(line)


async def test_at_the_start_a_version_that_could_not_be_loaded_is_passed_over_and_tried_again(tmp_path: Path) -> None:
    clock, trouble = Clock(), [OSError(24, "Too many open files")]

    def load(path: Path) -> Echo:
        if trouble:
            raise trouble.pop()
        return Echo(path)

    with models(load, clock=clock, m=saved(tmp_path, "1", "2")) as made:
        await made.load()
        assert made.get("m").version == "1"
        clock.now += 10
        await made.refresh()
        assert made.get("m").version == "2"


async def test_what_is_served_outlives_that_its_own_files_are_spoilt(tmp_path: Path) -> None:
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        before = made.get("m")
        put(tmp_path, "1", "broken")
        await settle(made)
        assert made.get("m") is before


async def test_below_a_broken_version_one_that_is_newer_than_what_is_served_is_taken(tmp_path: Path) -> None:
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2")
        put(tmp_path, "3", "broken")
        await settle(made)
        assert versions(made)["2"] == "AVAILABLE"
        assert made.get("m").version == "2"


async def test_a_version_that_is_still_copied_is_left_in_peace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    with models(sound, registry, m=put(tmp_path, "1")) as made:
        await made.load()
        (tmp_path / "2" / "variables").mkdir(parents=True)
        for size in range(1, 5):
            (tmp_path / "2" / "variables" / "data").write_bytes(bytes(size))
            await made.refresh()
        put(tmp_path, "2", "brok")
        await made.refresh()
        put(tmp_path, "2", "well, it is sound after all")
        await settle(made)
        assert made.get("m").version == "2"
        assert (told(caplog), loads(registry)) == ([], (2, 0))


async def test_a_copy_that_stalls_is_told_of_and_counts_as_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    with models(sound, registry, m=put(tmp_path, "1")) as made:
        await made.load()
        (tmp_path / "2").mkdir()
        await settle(made)
        (line,) = told(caplog)
        assert line.endswith("it is not complete")
        put(tmp_path, "2")
        await settle(made)
        assert (made.get("m").version, loads(registry)) == ("2", (2, 0))


async def test_what_a_failed_load_left_in_memory_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    monkeypatch.setattr("service.memory.give_back", lambda: times.append(1))
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2", "broken")
        for _ in range(5):
            await made.refresh()
    assert len(times) == 1


async def test_models_are_loaded_one_at_a_time(tmp_path: Path) -> None:
    """So that there need be memory for what is served and one more."""
    loader = Loader()
    loader.go(2)
    with models(loader, a=put(tmp_path / "a", "1"), b=put(tmp_path / "b", "1")) as made:
        await made.load()
        put(tmp_path / "a", "2")
        put(tmp_path / "b", "2")
        await made.refresh()
        look = asyncio.create_task(made.refresh())
        await until(lambda: {versions(made, name).get("2") == "LOADING" for name in ("a", "b")} == {True})
        await until(lambda: len(loader.begun) == 3)
        loader.go()
        await until(lambda: len(loader.begun) == 4)
        loader.go()
        await look
        assert (made.get("a").version, made.get("b").version) == ("2", "2")
        assert loader.most_at_once == 1


# What is gone


async def test_of_what_is_not_there_any_more_nothing_is_said(tmp_path: Path) -> None:
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        put(tmp_path, "2")
        put(tmp_path, "3", "broken")
        await settle(made)
        await until(lambda: versions(made) == {"3": "END", "2": "AVAILABLE", "1": "END"})
        for version in ("1", "3"):
            shutil.rmtree(tmp_path / version)
        await made.refresh()
        assert versions(made) == {"2": "AVAILABLE"}


async def test_an_older_version_is_gone_back_to_when_all_newer_ones_are_removed(tmp_path: Path) -> None:
    with models(sound, m=saved(tmp_path, "1", "2", "3")) as made:
        await made.load()
        shutil.rmtree(tmp_path / "3")
        await settle(made)
        assert made.get("m").version == "2"


async def test_nothing_is_gone_back_to_while_something_newer_is_there(tmp_path: Path) -> None:
    with models(sound, m=saved(tmp_path, "1", "2")) as made:
        await made.load()
        put(tmp_path, "3", "broken")
        shutil.rmtree(tmp_path / "2")
        await settle(made)
        assert made.get("m").version == "2"


def _remove_all(path: Path) -> None:
    shutil.rmtree(path)


def _empty(path: Path) -> None:
    shutil.rmtree(path / "1")


def _replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


@pytest.mark.parametrize("harm", [_remove_all, _empty, _replace_by_file])
async def test_what_is_served_stays_when_its_folder_goes_and_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    path = put(tmp_path / "m", "1")
    with models(sound, m=path) as made:
        await made.load()
        harm(path)
        for _ in range(4):
            await made.refresh()
        assert (made.ready, made.get("m").version) == (True, "1")
        (line,) = told(caplog)
        assert line.startswith("what is served is not in its folder any more; it stays in memory: FileNotFoundError")
        if path.is_file():
            path.unlink()
        put(path, "2")
        await settle(made)
        assert made.get("m").version == "2"


async def test_a_folder_that_may_not_be_read_is_told_of_and_so_is_its_return(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "iterdir", _denied)
            await settle(made)
        assert made.get("m").version == "1"
        assert "PermissionError" in told(caplog)[-1]
        await made.refresh()
        assert told(caplog, logging.INFO)[-1].startswith("what is served is in its folder again")


def _denied(_: Path) -> None:
    raise PermissionError(13, "Permission denied")


async def test_a_version_that_may_not_be_read_for_a_while_is_told_of_each_time_and_not_for_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        for times in (1, 2):
            with monkeypatch.context() as patch:
                patch.setattr("service.models.folder._stamp", _denied)
                await settle(made)
            await settle(made)
            assert told(caplog) == ["a version cannot be served: version 1 cannot be read: Permission denied"] * times
        put(tmp_path, "2")
        await settle(made)
        await until(lambda: made.states("m", 1) == [VersionState("m", "1", "END")])


async def test_what_fails_in_a_look_ends_no_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with models(sound, m=put(tmp_path, "1")) as made:
        await made.load()
        watch = asyncio.create_task(made.watch(0.001))
        with monkeypatch.context() as patch:
            patch.setattr("service.models.reload.in_daemon", None)
            await until(lambda: any(r.message == "cannot look for new versions" for r in caplog.records))
        put(tmp_path, "2")
        await until(lambda: made.get("m").version == "2")
        watch.cancel()


async def test_a_folder_that_hangs_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network's file system does whose server is away."""
    hung, go, iterdir = threading.Event(), threading.Event(), Path.iterdir

    def hang(path: Path) -> object:
        if path.name == "a":
            hung.set()
            assert go.wait(60)
        return iterdir(path)

    with models(sound, a=put(tmp_path / "a", "1"), b=put(tmp_path / "b", "1")) as made:
        await made.load()
        monkeypatch.setattr(Path, "iterdir", hang)
        watch = asyncio.create_task(made.watch(0.001))
        await until(hung.is_set)
        put(tmp_path / "b", "2")
        await until(lambda: made.get("b").version == "2")
        go.set()
        watch.cancel()


# At the start


async def test_at_the_start_the_newest_version_that_can_be_loaded_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    put(tmp_path, "1")
    put(tmp_path, "2")
    put(tmp_path, "3", "broken")
    (tmp_path / "4").mkdir()
    with models(sound, registry, m=tmp_path) as made:
        await made.load()
        assert made.get("m").version == "2"
        assert versions(made) == {"4": "END", "3": "END", "2": "AVAILABLE"}
        assert (len(told(caplog)), loads(registry)) == (2, (1, 1))
        await settle(made)
        assert (made.get("m").version, loads(registry)) == ("2", (1, 1))


async def test_a_start_without_any_sound_version_fails_for_the_newest_ones_reason(tmp_path: Path) -> None:
    put(tmp_path, "1", "broken one")
    put(tmp_path, "2", "broken two")
    with models(sound, m=tmp_path) as made, pytest.raises(ModelError) as caught:
        await made.load()
    assert str(caught.value) == f"model 'm' at {tmp_path / '2'}: OSError: the content is broken two"


# Labels


async def test_versions_with_labels_are_served_besides_the_newest(tmp_path: Path) -> None:
    with models(sound, labels={"m": {"stable": 1, "canary": 3}}, m=saved(tmp_path, "1", "2", "3")) as made:
        await made.load()
        assert [made.get("m", label=label).version for label in ("stable", "canary", None)] == ["1", "3", "3"]
        assert made.get("m", 1) is made.get("m", label="stable")
        assert versions(made) == {"3": "AVAILABLE", "1": "AVAILABLE"}
        put(tmp_path, "4")
        await settle(made)
        assert [made.get("m", label=label).version for label in ("stable", "canary", None)] == ["1", "3", "4"]
        assert made.states("m", label="canary") == [VersionState("m", "3", "AVAILABLE")]


async def test_a_label_that_nobody_gave_is_refused_as_tensorflow_serving_words_it(tmp_path: Path) -> None:
    with models(sound, labels={"m": {"stable": 1}}, m=saved(tmp_path, "1")) as made:
        await made.load()
        for look in (made.get, made.states):
            with pytest.raises(InvalidRequest, match=r"^Unrecognized servable version label: beta$"):
                look("m", label="beta")


async def test_a_labelled_version_stays_when_its_folder_goes_and_is_loaded_anew_when_it_is_replaced(
    tmp_path: Path,
) -> None:
    with models(sound, labels={"m": {"stable": 1}}, m=saved(tmp_path, "1", "2")) as made:
        await made.load()
        before = made.get("m", label="stable")
        shutil.rmtree(tmp_path / "1")
        await settle(made)
        assert made.get("m", label="stable") is before
        put(tmp_path, "1", "other weights")
        await made.refresh()
        assert made.get("m", label="stable") is before
        await made.refresh()
        assert made.get("m", label="stable") is not before


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "there is no such version"), ("broken", "OSError: the content is broken")]
)
async def test_a_start_without_a_labelled_version_fails_and_names_the_label(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    put(tmp_path, "2")
    if content:
        put(tmp_path, "1", content)
    with models(sound, labels={"m": {"stable": 1}}, m=tmp_path) as made, pytest.raises(ModelError) as caught:
        await made.load()
    assert str(caught.value) == f"model 'm' at {tmp_path}: version 1, labelled 'stable': {reason}"


async def test_a_model_is_ready_when_its_labelled_versions_are_too(tmp_path: Path) -> None:
    loader = Loader()
    with models(loader, labels={"m": {"stable": 1}}, m=saved(tmp_path, "1", "2")) as made:
        async with loading(made) as task:
            await until(lambda: loader.begun)
            for label in ("stable", None):
                with pytest.raises(NotReady):
                    made.get("m", label=label)
            loader.go()
            await until(lambda: len(loader.begun) == 2)
            assert not made.ready
            loader.go()
            await task
            assert made.ready
            assert [made.get("m", label=label).version for label in ("stable", None)] == ["1", "2"]


# The program itself


def test_the_program_takes_up_a_real_model_refuses_a_broken_one_and_tells_of_both(tmp_path: Path) -> None:
    shutil.copytree(DIGITS / "1", tmp_path / "1")

    def appear(version: str, content: bytes = b"") -> None:
        folder = tmp_path / "next"
        shutil.copytree(DIGITS / "1", folder)
        if content:
            (folder / "saved_model.pb").write_bytes(content)
        folder.rename(tmp_path / version)

    with program(TFPOD_MODELS=f"digits={tmp_path}", TFPOD_RELOAD_INTERVAL="0.05") as pod:
        api, admin = pod.urls()
        assert pod.line("model is ready")["version"] == "1"
        appear("2")
        assert pod.line("model is ready")["version"] == "2"
        assert pod.line("model is unloaded")["version"] == "1"
        appear("3", b"no model")
        assert pod.line("a version cannot be served")["version"] == "3"
        status, text = get(f"{api}/v1/models/digits:predict", (DIGITS / "sample.json").read_bytes())
        assert status == 200
        assert json.loads(text)["predictions"]
        metrics = get(f"{admin}/metrics")[1]
        assert 'tfpod_model_version{model="digits"} 2.0' in metrics
        for result, count in (("ok", 2.0), ("failed", 1.0)):
            assert f'tfpod_model_loads_total{{model="digits",result="{result}"}} {count}' in metrics


async def test_a_load_that_hangs_does_not_keep_other_models_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.models.models._PATIENCE", 0.01)
    begun, gate = threading.Event(), threading.Event()

    def load(path: Path) -> Echo:
        if path.parent.name == "a" and path.name == "2":
            begun.set()
            assert gate.wait(60)
        return Echo(path)

    with models(load, a=saved(tmp_path / "a", "1"), b=saved(tmp_path / "b", "1")) as made:
        await made.load()
        put(tmp_path / "a", "2")
        await made.refresh()
        hanging = asyncio.create_task(made.refresh())
        await until(begun.is_set)
        put(tmp_path / "b", "2")
        other = made._reloads["b"]
        await other.refresh()
        await other.refresh()
        assert (made.get("a").version, made.get("b").version) == ("1", "2")
        assert "a model is loaded although another one still is" in caplog.text
        gate.set()
        await hanging
