"""Samples become text by a model whose scores are known: here each sample's value is the number of a label."""

import math
from pathlib import Path

import anyio
import numpy as np
import pytest

from service.errors import InvalidRequest, NotSupported, Overloaded, TooLarge
from service.speech.audio import RATE, Samples
from service.speech.recogniser import Heard, Recogniser, Sound
from service.types import ELEMENT_TYPES, Array, Signature, Tensors, TensorSpec
from tests.speech import words

pytestmark = pytest.mark.anyio

LABELS = ["n", "h", "i3", "ao3", "_"]
FRAME = 1600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    words.write(
        tmp_path / "assets.extra" / "language.npz", [("你", "ni3", 0.2), ("好", "hao3", 0.2), ("你好", "ni3 hao3", 0.2)]
    )
    return tmp_path


@pytest.fixture
def recogniser(folder: Path) -> Recogniser:
    return Recogniser(folder)


def said(*labels: str) -> Samples:
    """Return samples in which each label lasts a tenth of a second."""
    return np.repeat([np.float32(LABELS.index(label) / 8) for label in labels], FRAME)


class Model:
    """Reads the labels off the samples, and keeps how long they were."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    async def __call__(self, inputs: Tensors) -> Tensors:
        samples, lengths = np.asarray(inputs["samples"], np.float32), np.asarray(inputs["lengths"], np.int32)
        self.shapes.append(samples.shape)
        frames = samples[:, FRAME // 2 :: FRAME]
        scores: Array = np.eye(len(LABELS), dtype=np.float32)[np.rint(frames * 8).astype(int)]
        return {"scores": scores, "frames": -(-lengths // FRAME)}


async def test_samples_become_syllables_and_words_with_their_times(recogniser: Recogniser) -> None:
    heard = await recogniser.hear(said("_", "n", "i3", "_", "h", "ao3", "ao3"), Model(), 1)
    transcript = recogniser.read(heard)
    assert [sound.name for sound in transcript.syllables] == ["ni3", "hao3"]
    assert transcript.syllables[1].begin == pytest.approx(0.4)
    assert transcript.syllables[1].end == pytest.approx(0.7)
    (word,) = transcript.words
    assert word.name == transcript.text == "你好"
    assert word[1:] == pytest.approx((0.1, 0.7))


@pytest.mark.parametrize(("seconds", "filled"), [(1 / RATE, 1), (1, 1), (1.1, 2), (16, 16)])
async def test_short_audio_is_filled_up_to_whole_seconds(recogniser: Recogniser, seconds: float, filled: int) -> None:
    model = Model()
    heard = await recogniser.hear(np.full(int(seconds * RATE), 0.5, np.float32), model, 1)
    assert model.shapes == [(1, filled * RATE)]
    assert recogniser.read(heard) == ([], [])


async def test_long_audio_is_said_whole(recogniser: Recogniser) -> None:
    model = Model()
    text = ["n", "i3", "_", "h", "ao3", "_"]
    transcript = recogniser.read(await recogniser.hear(said(*text * 100), model, 1))
    assert transcript.text == "你好" * 100
    assert len(model.shapes) > 3
    assert max(shape[1] for shape in model.shapes) <= 16 * RATE
    assert [sound.begin for sound in transcript.syllables] == pytest.approx(np.arange(200) * 0.3, abs=0.06)


async def test_long_audio_that_cannot_be_done_in_time_is_refused_at_once(recogniser: Recogniser) -> None:
    model = Model()
    await recogniser.hear(said("n"), model, 1)
    recogniser._pace = 10
    with pytest.raises(TooLarge, match=r"60 s of audio would take 6\.0 s, and there are 5\.0 s"):
        await recogniser.hear(said(*["_"] * 600), model, 5)
    assert len(model.shapes) == 1
    await recogniser.hear(said(*["_"] * 100), model, 0.5)
    assert len(model.shapes) == 2, "what one piece holds is tried"


async def test_where_nobody_knows_the_pace_the_first_piece_tells_it(recogniser: Recogniser) -> None:
    model = Model()

    async def slow(inputs: Tensors) -> Tensors:
        await anyio.sleep(0.01)
        return await model(inputs)

    assert math.isinf(recogniser.longest(0.1))
    with pytest.raises(TooLarge, match="s of audio would take"):
        await recogniser.hear(np.zeros(3600 * RATE, np.float32), slow, 0.1)
    assert len(model.shapes) == 1


async def test_a_pace_that_was_reached_can_be_reached_again(recogniser: Recogniser) -> None:
    """A model that others keep busy is slow for a while, but no audio is too long for that."""
    paces = []
    for seconds in (0.01, 0, 0.02):

        async def compute(inputs: Tensors, seconds: float = seconds) -> Tensors:
            await anyio.sleep(seconds)
            return await Model()(inputs)

        await recogniser.hear(said("_"), compute, 1)
        paces.append(recogniser.longest(1))
    assert paces[0] < paces[1] == paces[2]
    assert recogniser.longest(-1) == 0


async def test_the_model_is_not_asked_about_nothing(recogniser: Recogniser) -> None:
    model = Model()
    heard = await recogniser.hear(np.zeros(0, np.float32), model, 1)
    assert recogniser.read(heard) == ([], [])
    assert model.shapes == []


def test_more_syllables_than_can_be_written_in_time_are_refused(recogniser: Recogniser) -> None:
    assert recogniser.write(["ni3"] * 2048) == "你" * 2048
    with pytest.raises(InvalidRequest, match="2049 syllables; at most 2048"):
        recogniser.write(["ni3"] * 2049)


async def test_what_the_model_raises_ends_the_hearing(recogniser: Recogniser) -> None:
    async def full(_: Tensors) -> Tensors:
        raise Overloaded("full")

    with pytest.raises(Overloaded, match="full"):
        await recogniser.hear(said("_"), full, 1)


async def test_syllables_are_written(recogniser: Recogniser) -> None:
    assert recogniser.write(["ni3", "hao3"]) == "你好"
    with pytest.raises(InvalidRequest, match="'foo1' is no syllable"):
        recogniser.write(["ni3", "foo1"])


def test_the_words_say_which_syllables_were_heard(folder: Path) -> None:
    """Among them are alternatives to the likeliest syllables, at the same times."""
    (folder / "assets.extra" / "labels.txt").write_text("n h i3 ao3 ao4 _")
    logits = [[9, 0, 0, 0, 0, 0], [0, 0, 9, 0, 0, 0], [0, 9, 0, 0, 0, 0], [0, 0, 0, 8, 9, 0]]
    heard = Heard(np.array(logits, np.float32), np.arange(5) / 10)
    recogniser = Recogniser(folder)
    assert [sound.name for sound in recogniser.syllables(heard)] == ["ni3", "hao4"]
    transcript = recogniser.read(heard)
    assert transcript.syllables == [Sound("ni3", 0.0, 0.2), Sound("hao3", 0.2, 0.4)]
    assert transcript.words == [Sound("你好", 0.0, 0.4)]
    (folder / "assets.extra" / "language.npz").unlink()
    assert [sound.name for sound in Recogniser(folder).read(heard).syllables] == ["ni3", "hao4"]


def test_labels_may_be_whole_syllables(folder: Path) -> None:
    (folder / "assets.extra" / "labels.txt").write_text("ni3 hao3 hao4 _")
    scores = np.array([[9, 0, 0, 0], [0, 8, 9, 0], [0, 0, 0, 9]], np.float32)
    transcript = Recogniser(folder).read(Heard(scores, np.arange(4) / 10))
    assert transcript.text == "你好"
    assert [sound.name for sound in transcript.syllables] == ["ni3", "hao3"]


async def test_without_a_language_there_are_syllables_only(folder: Path) -> None:
    (folder / "assets.extra" / "language.npz").unlink()
    recogniser = Recogniser(folder)
    transcript = recogniser.read(await recogniser.hear(said("n", "i3"), Model(), 1))
    assert [sound.name for sound in transcript.syllables] == ["ni3"]
    assert transcript.words == []
    with pytest.raises(NotSupported, match="no language"):
        recogniser.write(["ni3"])


async def test_a_model_of_speech_is_known_by_its_tensors_and_its_labels(folder: Path) -> None:
    spec = TensorSpec(ELEMENT_TYPES[0], (None,))
    speech = Signature(dict.fromkeys(["samples", "lengths"], spec), dict.fromkeys(["scores", "frames"], spec))
    assert Recogniser.of(folder, {"serving_default": speech})
    assert Recogniser.of(folder / "model.tflite", {"serving_default": speech})
    assert not Recogniser.of(folder, {"other": speech})
    assert not Recogniser.of(folder, {"serving_default": Signature({"x": spec}, {"y": spec})})
    (folder / "assets.extra" / "labels.txt").unlink()
    assert not Recogniser.of(folder, {"serving_default": speech})
