"""models/asrt: weights as Keras 2 wrote them and a dictionary become a model of speech."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import service.convert
from models.asrt import convert, network, weights
from models.speech.labels import SYLLABLES, TONES
from service.runners.litert import LiteRtRunner
from service.runners.tensorflow import TensorFlowRunner
from service.speech.recogniser import Recogniser
from service.types import Tensors
from tests.speech import words
from tests.training import keras2

DICTIONARY = "ni3\t你拟\nhao3\t好郝\nnv3\t女\nheng5\t哼\nheng5\t哼\n"
OUTPUTS = 6
WEIGHTS = keras2.random_weights(OUTPUTS)


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "dict.txt"
    path.write_text(DICTIONARY, encoding="utf-8")
    return path


def changed(name: str, value: Any) -> dict[str, Any]:
    return {**WEIGHTS, name: value}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", ["layers", "saved", "nested"])
def test_weights_are_read_from_every_file_that_holds_the_layers(tmp_path: Path, form: str, training: bool) -> None:
    found = weights.read(keras2.write(tmp_path / "w.h5", WEIGHTS, training=training, form=form), OUTPUTS)
    assert found.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_files_of_these_tests_are_what_keras_reads(tmp_path: Path) -> None:
    """So they are as Keras 2 wrote them: that is the only layout that Keras takes from such a file."""
    model = keras2.keras_model(OUTPUTS)
    model.load_weights(keras2.write(tmp_path / "w.h5", WEIGHTS))
    for layer in model.layers:
        names = [name for name in WEIGHTS if name.startswith(f"{layer.name}/")]
        for name, value in zip(names, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(value, WEIGHTS[name])


def test_weights_of_half_precision_are_taken(tmp_path: Path) -> None:
    half = changed("Dense1/bias", WEIGHTS["Dense1/bias"].astype(np.float16))
    assert weights.read(keras2.write(tmp_path / "w.h5", half), OUTPUTS)["Dense1/bias"].dtype == np.float32


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({name: value for name, value in WEIGHTS.items() if "BN3" not in name}, "has BN3/gamma, the file has not"),
        (changed("Conv4/kernel", np.zeros((3, 3, 64, 64), "f")), r"Conv4/kernel should be floats \(3, 3, 64, 128\)"),
        (changed("Dense1/bias", np.zeros(7, "f")), r"Dense1/bias should be floats \(6,\), but is .* shape \(7,\)"),
        (changed("Conv0/bias", np.zeros(32, "i")), r"Conv0/bias should be floats \(32,\)"),
        (changed("Conv0/bias", np.full(32, np.nan, "f")), "Conv0/bias holds values that are no numbers"),
        (changed("Dense1/more", np.zeros(3, "f")), "Dense1/more belongs to no layer of SpeechModel251BN"),
        ({}, "holds no weights that Keras wrote"),
    ],
)
def test_a_file_of_another_network_is_refused_with_the_first_thing_that_differs(
    tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    path = keras2.write(tmp_path / "w.h5", other)
    with pytest.raises(ValueError, match=said) as refusal:
        weights.read(path, OUTPUTS)
    assert str(path) in str(refusal.value)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, dictionary: Path) -> None:
    with pytest.raises(OSError, match=r"dict\.txt: .* signature not found"):
        weights.read(dictionary, OUTPUTS)
    with pytest.raises(OSError, match=r"w\.h5: .*No such file"):
        weights.read(tmp_path / "w.h5", OUTPUTS)
    half = keras2.write(tmp_path / "w.h5", WEIGHTS).read_bytes()[:100_000]
    (tmp_path / "w.h5").write_bytes(half)
    with pytest.raises(OSError, match=r"w\.h5: .*truncated"):
        weights.read(tmp_path / "w.h5", OUTPUTS)


def test_a_dictionary_of_1427_lines_makes_1428_labels(tmp_path: Path) -> None:
    pinyin = [*[syllable + tone for syllable in SYLLABLES for tone in TONES][:1426], "heng5"]
    for ending in ("", "\n", "\r\n"):
        (tmp_path / "dict.txt").write_bytes(("\n".join(f"{p}\t字" for p in pinyin) + ending).encode("utf-8-sig"))
        assert convert.read_labels(tmp_path / "dict.txt") == [*pinyin, "_"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ni3\t你\nhao\t好\n", "line 2: 'hao' is no pinyin with a tone"),
        ("ni3\t你\n\nhao3\t好\n", "line 2: '' is no pinyin"),
        ("的\t213994\n", "line 1: '的' is no pinyin"),
        ("", "line 1: '' is no pinyin"),
    ],
)
def test_what_is_no_dictionary_is_refused(dictionary: Path, content: str, said: str) -> None:
    dictionary.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        convert.read_labels(dictionary)


def test_the_model_answers_what_the_network_answers(tmp_path: Path, dictionary: Path) -> None:
    target = tmp_path / "asrt/1"
    labels = convert.convert(keras2.write(tmp_path / "w.h5", WEIGHTS), dictionary, target)
    assert labels == ["ni3", "hao3", "nv3", "heng5", "heng5", "_"]
    runner = TensorFlowRunner(target, tf.config.threading.get_intra_op_parallelism_threads())
    (signature,) = runner.signatures.values()
    assert signature.batches
    assert {name: spec.shape for name, spec in signature.outputs.items()} == {
        "scores": (None, None, OUTPUTS),
        "frames": (None,),
    }
    samples = np.random.default_rng(3).normal(0, 0.1, (2, 8000)).astype(np.float32)
    lengths = np.array([8000, 5000], np.int32)
    found = runner.run("serving_default", {"samples": samples, "lengths": lengths})
    expected, frames = network.scores(tf.constant(samples), tf.constant(lengths), network.folded(WEIGHTS))
    np.testing.assert_array_equal(found["frames"], frames)
    np.testing.assert_allclose(np.asarray(found["scores"], np.float32), expected, rtol=1e-3, atol=1e-5)
    assert b"keras" not in (target / "saved_model.pb").read_bytes().lower()


def test_it_runs_on_litert_as_well(tmp_path: Path, dictionary: Path) -> None:
    convert.convert(keras2.write(tmp_path / "w.h5", WEIGHTS), dictionary, tmp_path / "1")
    runner = TensorFlowRunner(tmp_path / "1", tf.config.threading.get_intra_op_parallelism_threads())
    (tmp_path / "model.tflite").write_bytes(service.convert.convert(tmp_path / "1", runner.signatures, "none", {}))
    samples = np.random.default_rng(3).normal(0, 0.1, (2, 20_000)).astype(np.float32)
    inputs = {"samples": samples, "lengths": np.array([20_000, 7000], np.int32)}
    answer = LiteRtRunner(tmp_path / "model.tflite", 1).run("serving_default", inputs)
    expected = runner.run("serving_default", inputs)
    np.testing.assert_array_equal(answer["frames"], expected["frames"])
    difference = np.subtract(answer["scores"], expected["scores"], dtype=np.float32)
    assert np.abs(difference).max() < 1e-3


@pytest.mark.anyio
async def test_a_recogniser_hears_and_reads_with_it(
    tmp_path: Path, dictionary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network says one pinyin whatever it hears, so what should be read is known."""
    certain = changed("Dense1/kernel", np.zeros((128, OUTPUTS), "f"))
    certain["Dense1/bias"] = 9 * np.eye(OUTPUTS, dtype=np.float32)[2]
    keras2.write(tmp_path / "w.h5", certain, training=True)
    words.write(tmp_path / "words.npz", [("女", "nv3", 0.5), ("你", "ni3", 0.5)])
    files = [str(path) for path in (tmp_path / "w.h5", dictionary, tmp_path / "1")]
    convert.main([*files, "--language", str(tmp_path / "words.npz")])
    assert capsys.readouterr().out == f"{tmp_path / '1'}: a recogniser of 5 pinyin\n"
    runner = TensorFlowRunner(tmp_path / "1", tf.config.threading.get_intra_op_parallelism_threads())
    recogniser = Recogniser.of(tmp_path / "1", runner.signatures)
    assert recogniser

    async def compute(inputs: Tensors) -> Tensors:
        return runner.run("serving_default", inputs)

    for count, text in ((0, ""), (300, ""), (20_000, "女"), (300_000, "女")):
        transcript = recogniser.read(await recogniser.hear(np.zeros(count, np.float32), compute, 60))
        assert transcript.text == text
        assert [sound.name for sound in transcript.syllables] == ["nv3"] * len(text)
        assert [sound.end for sound in transcript.syllables] == [pytest.approx(count / 16000)] * len(text)


@pytest.mark.parametrize("wrong", ["weights", "dictionary", "language"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind\n", b"PK\3\4\xff", None])
def test_the_command_names_the_file_that_does_not_fit_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, content: bytes | None
) -> None:
    (tmp_path / "dictionary").write_text(DICTIONARY, encoding="utf-8")
    keras2.write(tmp_path / "weights", WEIGHTS)
    words.write(tmp_path / "language.npz", [("女", "nv3", 0.5)])
    (tmp_path / "language.npz").rename(tmp_path / "language")
    (tmp_path / wrong).unlink()
    if content is not None:
        (tmp_path / wrong).write_bytes(content)
    files = [str(tmp_path / name) for name in ("weights", "dictionary", "1")]
    with pytest.raises(SystemExit, match="2"):
        convert.main([*files, "--language", str(tmp_path / "language")])
    assert str(tmp_path / wrong) in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "1").exists()
