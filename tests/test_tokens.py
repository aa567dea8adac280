"""The token file: one a line, never shown, and nobody is let in by mistake."""

import codecs
from pathlib import Path

import pytest

from service.admission import Limits
from service.errors import PermissionDenied
from service.tokens import authorize, read_tokens


def test_an_unreadable_token_file_closes_the_pod(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = read_tokens(str(tmp_path))
    assert tokens == ()
    assert "nobody is let in" in caplog.text
    with pytest.raises(PermissionDenied):
        authorize(tokens, b"Bearer secret")


def test_tokens_stand_one_a_line_and_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(codecs.BOM_UTF8 + b"one\n\n two \r\nthree")
    limits = Limits(body_bytes=1, inflight_bytes=1, inflight=1, seconds=1.0, tokens=read_tokens(str(path)))
    assert limits.tokens == (b"one", b"two", b"three")
    assert "two" not in repr(limits)


def test_without_a_file_everybody_is_let_in() -> None:
    assert read_tokens("") is None
    authorize(None, b"")
