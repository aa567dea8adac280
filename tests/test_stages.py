"""service/stages.py: notes go to whoever watches the same request, and to nobody else."""

import asyncio
import contextvars

import pytest

from service import stages

pytestmark = pytest.mark.anyio


async def test_a_stage_is_kept_with_its_times_and_facts() -> None:
    noted = stages.watch()
    stages.note("queue", 1.0, 2.5, {"rows": 3})
    stages.note("decode", 1.0)
    assert noted[0] == ("queue", 1.0, 2.5, {"rows": 3})
    assert noted[1].ended > noted[1].begun, "one without an end ends now"


async def test_it_can_be_told_whether_anybody_watches_before_anything_is_kept() -> None:
    assert contextvars.Context().run(stages.watched) is None
    assert stages.watch() is stages.watched()


def test_what_nobody_watches_is_not_kept() -> None:
    contextvars.Context().run(stages.note, "decode", 1.0)


async def test_requests_do_not_see_each_others_stages() -> None:
    async def serve(name: str) -> list[str]:
        noted = stages.watch()
        await asyncio.sleep(0)
        await asyncio.to_thread(stages.note, name, 0.0, 1.0)
        return [stage.name for stage in noted]

    assert list(await asyncio.gather(serve("a"), serve("b"))) == [["a"], ["b"]]
