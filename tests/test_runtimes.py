"""The two runtimes behind one API: whichever computes, answers, refusals and the end of the pod are the same."""

import http.client
import json
import math
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from service import app
from tests.alone import alone
from tests.program import DIGITS, ROOT, Program, get, program, until_ready

SAMPLE = (ROOT / "models/digits/sample.json").read_bytes()
IMAGE = np.array(json.loads(SAMPLE)["instances"][0], np.float32)


class Pod(NamedTuple):
    program: Program
    api: str
    admin: str


@pytest.fixture(params=DIGITS)
def runtime(request: pytest.FixtureRequest) -> str:
    """Return each runtime's name in turn."""
    return str(request.param)


@pytest.fixture(params=DIGITS, scope="module")
def pod(request: pytest.FixtureRequest) -> Iterator[Pod]:
    """Serve the digits by each runtime in turn."""
    with program("--models", f"digits={DIGITS[request.param]}") as started:
        api, admin = started.urls()
        until_ready(admin)
        yield Pod(started, api, admin)


def ask(pod: Pod, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(pod.api.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def of(*probabilities: Any) -> list[int]:
    """Return which digit each row is."""
    return [int(np.argmax(row)) for row in np.reshape(probabilities, (-1, 10))]


def test_every_form_of_asking_is_answered_alike(pod: Pod) -> None:
    label = of(json.loads(ask(pod, "/v1/models/digits:predict", SAMPLE)[1])["predictions"])
    tensor = {"name": "image", "shape": [3, 8, 8, 1], "datatype": "FP32"}
    columns = json.dumps({"inputs": {"image": [IMAGE.tolist()] * 3}}).encode()
    assert of(json.loads(ask(pod, "/v1/models/digits/versions/1:predict", columns)[1])["outputs"]) == label * 3
    flat = json.dumps({"inputs": [tensor | {"data": IMAGE.ravel().tolist() * 3}]}).encode()
    (output,) = json.loads(ask(pod, "/v2/models/digits/infer", flat)[1])["outputs"]
    assert (output["shape"], of(output["data"])) == ([3, 10], label * 3)
    raw = IMAGE.tobytes() * 3
    outputs = {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}], **outputs}).encode()
    lengths = {"Inference_Header_Content_Length": str(len(head))}
    status, body = ask(pod, "/v2/models/digits/infer", head + raw, **lengths)
    assert status == 200
    np.testing.assert_allclose(np.frombuffer(body[-120:], np.float32), np.ravel(output["data"]), atol=1e-6)


def test_the_signature_is_told_alike(pod: Pod) -> None:
    (signature,) = json.loads(get(f"{pod.api}/v1/models/digits/metadata")[1])["metadata"]["signature_def"][
        "signature_def"
    ].values()
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image"]["name"] == "serving_default_image:0"
    metadata = json.loads(get(f"{pod.api}/v2/models/digits")[1])
    assert metadata["platform"] in {"tensorflow_savedmodel", "litert_tflite"}
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8, 1]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]


@pytest.mark.parametrize(
    "instances",
    [
        None,
        [],
        {},
        "image",
        [1.0],
        [[1.0]],
        [[[[]] * 8] * 8],
        [[[["0"]] * 8] * 8],
        [[[[0.5]] * 8] * 7],
        [[[[0.5]] * 8] * 8, [[[0.5]] * 8] * 7],
        [{"image": [[[0.5]] * 8] * 8, "other": 1}],
        [{"other": [[[0.5]] * 8] * 8}],
        [{"b64": "AAAA"}],
    ],
    ids=repr,
)
def test_bad_inputs_are_refused_alike_and_harm_nobody(pod: Pod, instances: Any) -> None:
    status, body = ask(pod, "/v1/models/digits:predict", json.dumps({"instances": instances}).encode())
    assert (status, list(json.loads(body))) == (400, ["error"])
    assert ask(pod, "/v1/models/digits:predict", SAMPLE)[0] == 200


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_numbers_without_sense_are_computed_all_the_same(pod: Pod, value: float) -> None:
    body = json.dumps({"instances": [np.full((8, 8, 1), value).tolist()]}).encode()
    status, answer = ask(pod, "/v1/models/digits:predict", body)
    assert (status, np.shape(json.loads(answer)["predictions"])) == (200, (1, 10))


def test_batches_of_all_sizes_and_more_than_one_holds(pod: Pod) -> None:
    for rows in (1, 2, 63, 64, 65, 200, 3):
        body = json.dumps({"instances": [IMAGE.tolist()] * rows}).encode()
        predictions = json.loads(ask(pod, "/v1/models/digits:predict", body)[1])["predictions"]
        assert len(predictions) == rows
        np.testing.assert_allclose(predictions, [predictions[0]] * rows, atol=1e-5)


def test_the_end_loses_no_request(runtime: str) -> None:
    """Clients that ask without a pause, on connections that are kept, until they are told that theirs is closed."""
    with program("--models", f"digits={DIGITS[runtime]}", "--drain-delay=0.3") as started:
        api, admin = started.urls()
        until_ready(admin)
        asked, statuses, begun = [], [], threading.Semaphore(0)

        def insist() -> None:
            connection, closed = http.client.HTTPConnection(api.removeprefix("http://"), timeout=20), False
            while not closed:
                asked.append(1)
                connection.request("POST", "/v1/models/digits:predict", SAMPLE)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
                closed = answer.will_close
                begun.release()
            connection.close()

        clients = [threading.Thread(target=insist) for _ in range(8)]
        for client in clients:
            client.start()
        for _ in range(40):
            begun.acquire()
        assert started.end() == 0
        for client in clients:
            client.join()
        assert set(statuses) == {200}
        assert len(statuses) == len(asked) >= 40


def test_what_lies_there_says_which_runtime_computes() -> None:
    """A `model.tflite` beside a SavedModel is for pods without TensorFlow, and for who names the file."""
    program = """
        import sys
        from pathlib import Path
        from service import app

        for path in ("models/digits/1/model.tflite", "models/digits/1"):
            print(type(app.load_model(Path(path))).__name__)
        print("tensorflow.python" in sys.modules)
    """
    assert alone(program).split() == ["LiteRtRunner", "TensorFlowRunner", "True"]
    without = program.replace("from service import app", "from service import app; app.find_spec = lambda name: None")
    assert alone(without).split() == ["LiteRtRunner", "LiteRtRunner", "False"]


def test_a_model_for_the_other_image_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "models/digits/1/saved_model.pb", tmp_path)
    for missing, path in (("tensorflow", tmp_path), ("ai_edge_litert", ROOT / "models/digits/1/model.tflite")):
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.delitem(sys.modules, f"{missing}.interpreter", raising=False)
        with pytest.raises(ModuleNotFoundError, match=missing):
            app.load_model(path)
