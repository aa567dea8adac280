"""The token file: one a line, never shown, read again in time, and nobody is let in by mistake."""

import codecs
import errno
import logging
import os
from pathlib import Path

import pytest

from service.door.tokens import Tokens
from service.errors import PermissionDenied
from tests.clock import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "tokens"
    found.write_bytes(b"old\n")
    return found


def lets_in(tokens: Tokens, token: bytes) -> bool:
    try:
        tokens.authorize(b"Bearer " + token)
    except PermissionDenied:
        return False
    return True


def test_tokens_stand_one_a_line_and_are_not_shown(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path.write_bytes(codecs.BOM_UTF8 + b"one\n\n two \r\nthree")
    tokens = Tokens(str(path))
    assert tokens.count == 3
    assert all(lets_in(tokens, token) for token in (b"one", b"two", b"three"))
    assert not any(lets_in(tokens, token) for token in (b"on", b"ones", b"one\n\n two"))
    assert "two" not in repr(tokens) + caplog.text


def test_without_a_file_everybody_is_let_in() -> None:
    tokens = Tokens("")
    tokens.authorize(b"")
    assert (tokens.count, tokens.fault) == (None, None)


def test_a_change_counts_a_second_later_and_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    tokens = Tokens(str(path), clock)
    path.write_bytes(b"new\n")
    clock.now += 0.9
    assert lets_in(tokens, b"old")
    clock.now += 0.2
    assert not lets_in(tokens, b"old")
    assert lets_in(tokens, b"new")
    clock.now += 2
    assert lets_in(tokens, b"new")
    assert [record.message for record in caplog.records] == ["tokens changed"], "once"
    assert vars(caplog.records[0])["tokens"] == 1


def test_a_change_of_the_same_length_within_the_same_tick_is_seen(path: Path) -> None:
    clock, before = Clock(), path.stat()
    tokens = Tokens(str(path), clock)
    path.write_bytes(b"new\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 2
    assert lets_in(tokens, b"new")


def test_the_swap_of_a_secrets_volume_is_seen(tmp_path: Path) -> None:
    """The kubelet writes a new folder and renames a link onto `..data`; the file itself stays the same link."""
    for folder, content in (("..1", "old"), ("..2", "new")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tokens").write_text(content)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    clock = Clock()
    tokens = Tokens(str(tmp_path / "tokens"), clock)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    clock.now += 2
    assert (lets_in(tokens, b"old"), lets_in(tokens, b"new")) == (False, True)


def spoil(path: Path, how: str) -> None:
    path.unlink()
    if how == "empty":
        path.write_bytes(b"\n \n")
    elif how == "unreadable":
        path.mkdir()


@pytest.mark.parametrize("how", ["missing", "empty", "unreadable"])
def test_a_file_of_no_use_lets_nobody_in_until_it_is_mended(
    path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    running = Tokens(str(path), clock)
    assert running.fault is None
    spoil(path, how)
    clock.now += 2
    for tokens in (running, Tokens(str(path), clock)):
        assert not any(lets_in(tokens, token) for token in (b"old", b"\\x00"))
        assert tokens.fault
        assert tokens.count == 0
    clock.now += 2
    assert not lets_in(running, b"old")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2, "once each"
    if how == "unreadable":
        path.rmdir()
    path.write_bytes(b"old\n")
    clock.now += 2
    assert lets_in(running, b"old")
    assert running.fault is None


def test_want_of_descriptors_shuts_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    tokens = Tokens(str(path), clock)
    path.write_bytes(b"new\n")

    def fail(_: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        clock.now += 2
        assert lets_in(tokens, b"old")
        assert not lets_in(tokens, b"new")
    clock.now += 2
    assert (lets_in(tokens, b"old"), lets_in(tokens, b"new")) == (False, True)


def test_a_pipe_is_read_once() -> None:
    """As in `--tokens-file <(command)`."""
    reading, writing = os.pipe()
    os.write(writing, b"old\n")
    os.close(writing)
    clock = Clock()
    try:
        tokens = Tokens(f"/dev/fd/{reading}", clock)
        clock.now += 2
        assert lets_in(tokens, b"old")
    finally:
        os.close(reading)
