"""models/speech: recordings in, a checkpoint out, and on from there."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from models.speech import batches, checkpoint, data, decode, network, picture, step
from models.speech.labels import LABELS


def utterance(name: str = "a", speed: str = "normal", seconds: float = 0.5, *syllables: str) -> data.Utterance:
    count = int(seconds * network.RATE)
    return data.Utterance(name, speed, np.arange(count).astype(np.int16), syllables or ("ma1",))


def test_recordings_are_read_with_their_pinyin(tmp_path: Path) -> None:
    sentences = [{"id": "s1", "text": "妈妈", "pinyin": "ma1 ma5"}, {"id": "s2", "text": "不", "pinyin": "bu4"}]
    (tmp_path / "sentences.json").write_text(json.dumps(sentences))
    for speed, count in (("normal", 8000), ("slow", 12000)):
        with zipfile.ZipFile(tmp_path / f"{speed}.zip", "w") as archive:
            for sentence in sentences:
                content = io.BytesIO()
                soundfile.write(content, np.zeros(count, np.int16), 16000, format="OGG", subtype="OPUS")
                archive.writestr(f"{sentence['id']}.opus", content.getvalue())
    found = data.read(tmp_path)
    assert [(each.name, each.speed, each.syllables) for each in found] == [
        ("s1", "normal", ("ma1", "ma5")),
        ("s2", "normal", ("bu4",)),
        ("s1", "slow", ("ma1", "ma5")),
        ("s2", "slow", ("bu4",)),
    ]
    assert [len(each.samples) for each in found] == [8000, 8000, 12000, 12000]
    assert {each.samples.dtype for each in found} == {np.dtype(np.int16)}


def test_both_speeds_of_a_sentence_and_of_its_doubles_are_on_one_side() -> None:
    everything = [
        utterance(
            str(number), speed, 0.1, f"m{'aeiou'[number % 5]}1", f"n{'aeiou'[number // 5 % 5]}{1 + number // 25 % 5}"
        )
        for number in range(600)
        for speed in data.SPEEDS
    ]
    training, held_out = data.split(everything)
    assert len({each.name for each in held_out}) == data.HELD_OUT == len(held_out) / 2
    assert not {each.syllables for each in training} & {each.syllables for each in held_out}
    assert data.split(everything[::-1])[1] == held_out[::-1]


def test_a_batch_is_padded_and_its_labels_are_sparse() -> None:
    packed = batches.pack([np.ones(3, np.float32), np.ones(5000, np.float32)], [["ma1", "e2"], ["bo2"]])
    assert packed.lengths.tolist() == [3, 5000]
    assert packed.samples.sum(axis=1).tolist() == [3, 5000]
    assert packed.indices.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    assert [LABELS[value] for value in packed.values] == ["m", "a1", "e2", "b", "o2"]


def test_an_epoch_has_every_recording_once_and_is_the_same_every_time() -> None:
    names = [f"{initial}{final}" for initial in ("m", "n", "l", "b", "") for final in ("a1", "a2", "a3", "a4", "ai1")]
    recordings = [utterance("", "", 0.1 + 0.01 * number, name) for number, name in enumerate(names)]
    first, again = (list(batches.epoch(recordings, None, np.random.default_rng(4))) for _ in range(2))
    assert sum(len(batch.samples) for batch in first) == len(recordings)
    assert sorted(LABELS[value] for batch in first for value in batch.values if LABELS[value][-1] in "1234") == sorted(
        name.lstrip("mnlb") for name in names
    )
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(first, again, strict=True))


def test_what_goes_wrong_in_the_thread_that_makes_batches_is_raised() -> None:
    def broken() -> Iterator[batches.Batch]:
        yield batches.pack([np.ones(3, np.float32)], [["ma1"]])
        raise RuntimeError("no more")

    made = batches.ahead(broken())
    assert next(made).lengths.tolist() == [3]
    with pytest.raises(RuntimeError, match="no more"):
        next(made)


def test_errors_are_edits_as_a_share_of_what_is_right() -> None:
    right, heard = [["ni3", "hao3"], ["ma5"]], [["ni2", "hao3", "a5"], []]
    assert decode.error_rates(right, heard) == pytest.approx((1, 2 / 3))
    assert decode.distance([], []) == 0
    assert decode.distance(["a1"], ["b1", "a1"]) == 1


def test_steps_on_one_batch_lower_its_loss_and_the_average_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "WARMUP", 20)
    weights = network.initial_weights(1)
    run = step.Training(weights, weights, 1000, 0)
    random = np.random.default_rng(0)
    batch = batches.pack([random.normal(0, 0.1, 9000).astype(np.float32) for _ in range(2)], [["ma1"], ["bo2", "e4"]])
    losses = [float(run.step(*map(tf.constant, batch))) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    trained, average = run.state()
    assert {name: value.shape for name, value in trained.items()} == {n: value.shape for n, value in weights.items()}
    moved, followed = (np.abs(each["head"] - weights["head"]).mean() for each in (trained, average))
    assert 0.2 * moved < followed < moved


def test_masks_leave_most_of_the_features() -> None:
    kept = step.masked(tf.ones([50, 200, network.BANDS])).numpy()
    assert 0.6 < kept.mean() < 0.95
    assert set(np.unique(kept)) == {0, 1}


def test_another_microphone_changes_bands_alike_at_all_times() -> None:
    power = step.coloured(tf.ones([3, 7, network.BANDS])).numpy()
    np.testing.assert_allclose(power, np.repeat(power[:, :1], 7, axis=1))
    assert power.std(axis=2).min() > 0.01


def test_a_checkpoint_is_read_as_it_was_written_but_for_half_precision(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights, average = ({"a/bias": random.normal(size=3).astype(np.float32)} for _ in range(2))
    history = np.array([[3.5, 0.5, 0.25]], np.float32)
    checkpoint.write(tmp_path / "c.npz", checkpoint.Checkpoint(weights, weights, history[:0]))
    checkpoint.write(tmp_path / "c.npz", checkpoint.Checkpoint(weights, average, history))
    found = checkpoint.read(tmp_path / "c.npz")
    np.testing.assert_allclose(found.weights["a/bias"], weights["a/bias"], rtol=1e-3)
    np.testing.assert_allclose(found.average["a/bias"], average["a/bias"], rtol=1e-3)
    assert found.history.tolist() == history.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    picture.draw(np.array([[3, 0.9, 0.8], [1, 0.5, 0.4]], np.float32), tmp_path / "loss.svg")
    assert "epoch" in (tmp_path / "loss.svg").read_text()
