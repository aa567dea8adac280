"""service/codecs/http.py and service/errors.py: every error has its status and can be told."""

import json
import re
from collections.abc import Iterator

import pytest

from service import errors
from service.codecs import http
from service.errors import PodError

STATUSES = {
    "PodError": 500,
    "InvalidRequest": 400,
    "TooLarge": 413,
    "UnsupportedMedia": 415,
    "IncompleteRequest": 408,
    "Unauthenticated": 401,
    "PermissionDenied": 403,
    "NotFound": 404,
    "Overloaded": 429,
    "NotSupported": 501,
    "NotReady": 503,
    "DeadlineExceeded": 504,
    "ModelFailed": 500,
}


def kinds(kind: type[PodError] = PodError) -> Iterator[type[PodError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


def test_every_error_has_the_status_that_its_protocols_give_it() -> None:
    assert {kind.__name__: http.status_of(kind("text")) for kind in kinds() if kind.__module__ == errors.__name__} == (
        STATUSES
    )


def test_a_kind_that_is_new_has_the_status_of_its_parent() -> None:
    class New(errors.NotFound):
        pass

    assert http.status_of(New("text")) == 404


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^([│├└─ ]*)(\w+)(?: |$)", errors.__doc__.split("\n\n", 1)[1], re.MULTILINE)
    assert {name: len(indent) // 4 for indent, name in drawn} == {
        name: len(getattr(errors, name).__mro__) - len(PodError.__mro__) for name in STATUSES
    }


@pytest.mark.parametrize(
    ("kind", "seconds"), [(errors.Overloaded, 1), (errors.NotReady, 5), (errors.TooLarge, None), (PodError, None)]
)
def test_only_what_passes_by_itself_is_worth_a_new_try(kind: type[PodError], seconds: int | None) -> None:
    assert kind("text").retry_after == seconds


@pytest.mark.parametrize("text", ["", "plain", 'a "quote"\nand \x00', "ä😀"])
def test_an_error_is_an_object_with_one_key(text: str) -> None:
    assert json.loads(http.encode_error(text)) == {"error": text}


def test_half_a_character_does_not_keep_an_error_from_being_told() -> None:
    assert json.loads(http.encode_error("half \ud800")) == {"error": "half ?"}
