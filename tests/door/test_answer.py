"""service/door/answer.py: what is known of an answer while it is sent."""

import pytest
from starlette.types import Message

from service.door.answer import UNANSWERED, Answer

pytestmark = pytest.mark.anyio

START: Message = {"type": "http.response.start", "status": 404, "headers": [(b"a", b"1")]}


async def send(_: Message) -> None:
    """Send nothing."""


async def test_the_answer_tells_how_far_it_is() -> None:
    answer = Answer(send)
    assert (answer.status, answer.started, answer.size) == (UNANSWERED, False, 0)
    await answer(dict(START))
    await answer({"type": "http.response.body", "body": b"12", "more_body": True})
    await answer({"type": "http.response.body", "body": b"345"})
    assert (answer.status, answer.started, answer.size) == (404, True, 5)


async def test_headers_are_added() -> None:
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    answer = Answer(keep, (b"x-request-id", b"one"))
    await answer(dict(START))
    assert sent[0]["headers"] == [(b"a", b"1"), (b"x-request-id", b"one")]
