"""Speech in pieces says what it says as a whole; what is final stays so."""

import numpy as np
import pytest

from service.errors import InvalidRequest
from service.speech import stream
from service.speech.audio import RATE, Samples
from service.speech.recogniser import Recogniser
from service.speech.stream import Said, State
from service.types import Tensors
from tests.speech import words

pytestmark = pytest.mark.anyio

#: The samples of a label swing around its number, so that silence is quiet and labels are told by their level.
LABELS = ["_", "n", "i3", "h", "ao3"]
FRAME = 1600
HELLO = ["n", "i3", "h", "ao3"]
SILENCE = ["_"]


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Recogniser:
    folder = tmp_path_factory.mktemp("model")
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "labels.txt").write_text("\n".join([*LABELS[1:], LABELS[0]]))
    words.write(folder / "assets.extra" / "language.npz", [("你好", "ni3 hao3", 0.2)])
    return Recogniser(folder)


def said(*labels: str) -> Samples:
    return np.repeat([np.float32(LABELS.index(label) / 8) for label in labels], FRAME)


async def model(inputs: Tensors) -> Tensors:
    samples, lengths = np.asarray(inputs["samples"], np.float32), np.asarray(inputs["lengths"], np.int32)
    levels = np.rint(samples[:, FRAME // 2 :: FRAME] * 8).astype(int)
    return {"scores": np.eye(len(LABELS), dtype=np.float32)[levels - 1], "frames": -(-lengths // FRAME)}


async def spoken(recogniser: Recogniser, pieces: list[Samples]) -> tuple[list[Said], list[State]]:
    """Return what was said after each piece, and the states between."""
    state, heard, states = State(-1), [], []
    for piece in pieces:
        state = stream.load(stream.dump(state))
        samples = stream.pending(state, piece)
        state, answer = stream.add(
            recogniser, state, samples, await recogniser.hear(samples, model, 10), ended=not len(piece)
        )
        heard.append(answer)
        states.append(state)
    return heard, states


def cut(samples: Samples, seconds: float) -> list[Samples]:
    size = int(seconds * RATE)
    return [samples[start : start + size] for start in range(0, len(samples), size)]


NOTHING = np.zeros(0, np.float32)
SPEECH = said(*(HELLO * 3 + SILENCE * 9) * 20)


@pytest.mark.parametrize("seconds", [0.2, 1, 1.7, 5, 20])
async def test_pieces_say_what_the_whole_says(recogniser: Recogniser, seconds: float) -> None:
    heard, _ = await spoken(recogniser, [*cut(SPEECH, seconds), NOTHING])
    assert "".join(each.final for each in heard) == "你好" * 60
    assert heard[-1].partial == ""


async def test_what_may_change_is_what_is_not_final_yet(recogniser: Recogniser) -> None:
    heard, _ = await spoken(recogniser, cut(SPEECH, 1))
    final = ""
    for each in heard:
        final += each.final
        assert ("你好" * 60).startswith(final)
    assert any(each.partial for each in heard)


async def test_the_state_does_not_grow(recogniser: Recogniser) -> None:
    _, states = await spoken(recogniser, cut(np.tile(SPEECH, 4), 1))
    assert max(len(stream.dump(state)) for state in states) < 2 * 6 * RATE


async def test_words_have_the_seconds_since_the_begin(recogniser: Recogniser) -> None:
    heard, _ = await spoken(recogniser, [*cut(SPEECH, 2), NOTHING])
    begins = [word.begin for each in heard for word in each.words[: len(each.final) // 2]]
    expected = [2.1 * sentence + 0.4 * word for sentence in range(20) for word in range(3)]
    assert begins == pytest.approx(expected, abs=0.06)
    for each in heard:
        assert [syllable.begin for syllable in each.syllables[::2]] == [word.begin for word in each.words]


async def test_speech_without_a_pause_becomes_final_nonetheless(recogniser: Recogniser) -> None:
    heard, states = await spoken(recogniser, [*cut(said(*HELLO * 150), 1), NOTHING])
    assert any(each.final for each in heard[:-1])
    assert max(len(state.samples) for state in states) <= 2 * 17 * RATE
    assert 145 <= "".join(each.final for each in heard).count("你好") <= 150


async def test_silence_is_kept_no_longer_than_needed(recogniser: Recogniser) -> None:
    heard, states = await spoken(recogniser, cut(said(*SILENCE * 600), 1))
    assert not any(each.final or each.partial for each in heard)
    assert max(len(state.samples) for state in states) <= 2 * 4 * RATE


@pytest.mark.parametrize("seconds", [1, 60])
async def test_noise_without_speech_is_not_kept(recogniser: Recogniser, seconds: float) -> None:
    """The noise is steady, so nothing of it is quiet."""
    noise = np.tile(np.array([0.05, -0.05], np.float32), 60 * RATE)
    heard, states = await spoken(recogniser, [*cut(noise, seconds), said(*HELLO), NOTHING])
    assert max(len(state.samples) for state in states) <= 2 * 7 * RATE
    assert heard[-1].final == "你好"


async def test_a_sound_that_does_not_end_is_not_kept(recogniser: Recogniser) -> None:
    heard, states = await spoken(recogniser, cut(said(*["ao3"] * 600), 1))
    assert max(len(state.samples) for state in states) <= 2 * 17 * RATE
    assert any(each.final or each.syllables for each in heard)


async def test_samples_are_kept_as_they_are(recogniser: Recogniser) -> None:
    """They go through many states; each of them is the same, the loudest ones too."""
    loud = np.array([1 - 2**-15, -1, 12345 / 32768, 0], np.float32)
    _, states = await spoken(recogniser, [loud, *[loud[:1]] * 20])
    assert (stream.pending(states[-1])[:4] == loud).all()


@pytest.mark.parametrize("pieces", [[NOTHING], [NOTHING[:0], said("_")[:1], NOTHING]])
async def test_an_empty_piece_ends_the_speech(recogniser: Recogniser, pieces: list[Samples]) -> None:
    heard, states = await spoken(recogniser, pieces[:1])
    assert heard == [("", "", [], [])]
    assert states[-1].ended
    assert states[-1].samples == b""


def test_a_session_begins_with_its_first_piece() -> None:
    assert stream.check(stream.begun(0), 0)
    assert stream.check(stream.begun(1), 1)
    with pytest.raises(InvalidRequest, match="piece 2 comes without the cookie"):
        stream.begun(2)


def test_the_next_piece_is_heard_and_the_last_is_answered_again() -> None:
    state = State(sequence=7)
    assert stream.check(state, 8)
    assert not stream.check(state, 7)


@pytest.mark.parametrize(
    ("state", "sequence", "fault"),
    [
        (State(7), 9, "piece 9 is out of order: 8 is next"),
        (State(7), 6, "piece 6 is out of order: 8 is next"),
        (State(7, ended=True), 8, "piece 8 comes after the end: the session ended with piece 7"),
    ],
)
def test_pieces_that_are_missing_or_late_are_refused(state: State, sequence: int, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        stream.check(state, sequence)
