"""A model that hangs: its callers are told, the pod is unready, and ends; no drain waits for what never comes."""

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program, get, program, until_ready

#: The drain's time: so long that nobody would wait for its end.
DRAIN = 100


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model that never answers to a number above zero."""
    import tensorflow as tf  # noqa: PLC0415 - seconds long

    def double(x: Any) -> dict[str, Any]:
        (turns,) = tf.while_loop(lambda _: tf.reduce_any(x > 0), lambda turn: [turn + 1], [tf.constant(0)])
        return {"y": 2 * x + tf.cast(turns, tf.float32)}

    module = tf.Module()
    module.double = tf.function(double, input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    path = tmp_path_factory.mktemp("hangs")
    tf.saved_model.save(module, str(path / "1"), signatures=module.double)
    return path


def serve(model: Path, seconds: float) -> contextlib.AbstractContextManager[Program]:
    """Serve the model, with so many seconds for a request: after six times that, it is taken for one that hangs."""
    settings: dict[str, Any] = {"TFPOD_MODELS": f"m={model}", "TFPOD_REQUEST_TIMEOUT": str(seconds)}
    return program("--drain-delay=0", f"--drain-timeout={DRAIN}", **settings)


def ask(api: str, number: float) -> int:
    return get(f"{api}/v1/models/m:predict", json.dumps({"instances": [[number]]}).encode())[0]


def hang(api: str, admin: str) -> None:
    """Have the model hang, and return when that is known."""
    until_ready(admin)
    assert ask(api, -1.0) == 200
    callers = [threading.Thread(target=ask, args=(api, 1.0)) for _ in range(3)]
    for caller in callers:
        caller.start()
    while get(f"{admin}/readyz") != (503, "a model does not answer"):
        time.sleep(0.01)
    assert ask(api, -1.0) == 503
    for caller in callers:
        caller.join()


def test_the_pod_ends_itself_for_others_to_start_it_again(model: Path) -> None:
    with serve(model, 1) as pod:
        hang(*pod.urls())
        assert "request_id" not in pod.line("the model does not answer"), "it concerns them all"
        assert "a model hangs" in pod.line("a model cannot be served")["reason"]
        assert pod.process.wait(DRAIN / 2) == 1


def test_a_drain_does_not_wait_for_a_model_that_hangs(model: Path) -> None:
    with serve(model, 4) as pod:
        api, admin = pod.urls()
        hang(api, admin)
        assert get(f"{admin}/livez") == (200, "ok"), "it may only be slow, still"
        assert pod.end() == 0
