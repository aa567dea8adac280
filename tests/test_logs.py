"""service/logs.py: one JSON object a line, whatever is logged."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def line(message: str = "m", *arguments: Any, error: BaseException | None = None, **extra: Any) -> dict[str, Any]:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogger("tfpod.x").makeRecord(
        "tfpod.x", logging.WARNING, "file.py", 1, message, arguments, exc_info, extra=extra
    )
    record.created, record.msecs = 1700000000.123, 123.0
    text = logs.JsonFormatter().format(record)
    assert text.isascii()
    assert text.isprintable()
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_has_time_level_logger_message_and_the_extra_fields() -> None:
    assert line("read %s of %d", "a", 2, model="digits", seconds=1.5) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "logger": "tfpod.x",
        "message": "read a of 2",
        "model": "digits",
        "seconds": 1.5,
    }


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\x00\x1b[31m", "\x85\u2028", "ä😀", "\ud800", '{"level": "error"}']
)
def test_what_a_caller_sends_cannot_begin_a_line_of_its_own(text: str) -> None:
    assert line("%s", text, field=text)["message"] == text
    assert line("%s", text, field=text)["field"] == text


@pytest.mark.parametrize("value", [Path("/x"), OSError("no"), {1, 2}, object(), b"bytes"])
def test_what_json_does_not_know_is_logged_as_text(value: Any) -> None:
    assert line(field=value)["field"] == str(value)


def test_an_extra_field_does_not_hide_a_standard_one() -> None:
    assert line("m", level="extra", time="extra", logger="extra")["level"] == "warning"


def test_an_exception_comes_with_its_traceback_in_the_same_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018 - raises what is to be logged
    assert line("m", error=caught.value)["traceback"].splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_lines_go_to_standard_error_from_the_level_upwards(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("Warning")
    logging.getLogger("tfpod.a").info("unseen")
    logging.getLogger("any.library").error("seen", extra={"color_message": "unseen"})
    output = capsys.readouterr()
    assert output.out == ""
    assert [json.loads(text) for text in output.err.splitlines()] == [
        {"level": "error", "logger": "any.library", "message": "seen"} | {"time": json.loads(output.err)["time"]}
    ]


def test_configuring_again_replaces_what_was(capsys: pytest.CaptureFixture[str]) -> None:
    for level in ("debug", "info"):
        logs.configure(level)
    logging.getLogger("tfpod").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [
        handler.stream for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)
    ] == [sys.stderr]
