"""service/models/folder.py: which versions there are, what is loaded of each, and how a change of its files shows."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.models import folder
from tests.echo import put, saved


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["1"], [1]),
        (["9", "10", "2"], [10, 9, 2]),
        (["3", "0012"], [12, 3]),
        (["0"], [0]),
        (["2", "v3", "4.5", "-5", "٦", ".7", "8-tmp", "latest"], [2]),
        (["5", str((1 << 63) - 1), str(1 << 63), "1" * 30], [(1 << 63) - 1, 5]),  # versions have 64 bits on the wire
    ],
)
def test_versions_are_folders_named_by_a_number_newest_first(
    tmp_path: Path, names: list[str], numbers: list[int]
) -> None:
    assert list(folder.versions(saved(tmp_path, *names))) == numbers


def test_a_version_may_be_a_link_and_a_file_is_none(tmp_path: Path) -> None:
    saved(tmp_path, "data", "1")
    (tmp_path / "2").symlink_to(tmp_path / "data")
    (tmp_path / "3").touch()
    assert list(folder.versions(tmp_path)) == [2, 1]


@pytest.mark.parametrize("file", ["saved_model.pb", "model.keras", "model.tflite"])
def test_a_model_in_no_numbered_folder_is_version_one(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    (path,) = folder.versions(tmp_path).values()
    assert folder.examine(1, path).source == (tmp_path if file == "saved_model.pb" else tmp_path / file)


def test_a_keras_file_may_be_named_itself(tmp_path: Path) -> None:
    file = tmp_path / "cats.keras"
    file.touch()
    assert folder.versions(file) == {1: file}
    assert folder.examine(1, file).source == file


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: None, "there is no such folder"),
        (lambda path: path.touch(), "there is no such folder"),
        (lambda path: path.mkdir(), "neither a model nor a folder of numbered versions"),
        (lambda path: saved(path, "latest"), "neither a model nor a folder of numbered versions"),
    ],
)
def test_what_holds_no_version_is_an_error(tmp_path: Path, make: Callable[[Path], object], text: str) -> None:
    make(tmp_path / "m")
    with pytest.raises(OSError, match=text):
        folder.versions(tmp_path / "m")


def test_a_version_without_its_model_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "7" / "variables").mkdir(parents=True)
    found = folder.examine(7, tmp_path / "7")
    assert found.source is None
    assert "version 7 has none of saved_model.pb, model.keras, model.tflite: it is not complete" in found.why


def _grow(path: Path) -> None:
    (path / "variables" / "data").write_text("longer than before")


def _touch(path: Path) -> None:
    os.utime(path / "variables" / "data", ns=(1, 1))


def _add(path: Path) -> None:
    (path / "variables" / "more").touch()


def _remove(path: Path) -> None:
    (path / "variables" / "data").unlink()


@pytest.mark.parametrize("change", [_grow, _touch, _add, _remove])
def test_every_change_of_a_versions_files_shows_in_its_stamp_and_nothing_else_does(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    path = put(tmp_path, "1") / "1"
    (path / "variables").mkdir()
    (path / "variables" / "data").write_text("data")
    before = folder.examine(1, path)
    put(tmp_path, "2")
    (path / "saved_model.pb").read_bytes()
    assert folder.examine(1, path) == before
    change(path)
    assert folder.examine(1, path) != before


def test_files_that_are_swapped_behind_a_link_show(tmp_path: Path) -> None:
    """As a projected volume and git-sync do it."""
    for name in ("old", "new"):
        put(tmp_path / name, "1", name * (name == "old"))
    link = tmp_path / "1"
    link.symlink_to(tmp_path / "old" / "1")
    before = folder.examine(1, link)
    link.unlink()
    link.symlink_to(tmp_path / "new" / "1")
    assert folder.examine(1, link) != before


def test_a_link_to_nowhere_and_one_to_itself_are_passed_over(tmp_path: Path) -> None:
    path = put(tmp_path, "1") / "1"
    (path / "nowhere").symlink_to(path / "missing")
    (path / "round").symlink_to(path)
    assert folder.examine(1, path).source == path


def test_a_version_that_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "1") / "1"

    def refuse(*_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    found = folder.examine(1, path)
    assert (found.source, found.why) == (None, "version 1 cannot be read: Permission denied")
