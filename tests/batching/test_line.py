"""service/batching/line.py: who goes next, and with whom."""

import math
from typing import Any
from unittest.mock import Mock

import pytest

from service.batching.line import HEAD_START, Line
from service.batching.worker import LATE, Part


def part(
    key: str = "a",
    *,
    since: float = 0.0,
    rows: int = 1,
    size: int = 1,
    priority: int = 0,
    deadline: float = 1000.0,
    shares: bool = True,
) -> Part:
    number = next(_numbers)
    answer = Mock(done=Mock(return_value=False))
    order = (since - HEAD_START * priority, number)
    return Part(key, order, "s", {}, rows, size, priority, since, deadline, answer, shares)


_numbers = iter(range(10**6))


def line(*parts: Part, **limits: Any) -> Line:
    made = Line(**{"max_rows": 4, "max_size": 1000} | limits)
    for one in parts:
        made.add(one)
    return made


def test_nobody_waits_in_an_empty_line() -> None:
    empty = line()
    assert not empty
    assert (empty.take(0.0), empty.due(), empty.rows, empty.size) == ([], math.inf, 0, 0)


def test_parts_of_one_key_go_together_and_the_key_of_the_oldest_first() -> None:
    b, a, other = part("b"), part("a"), part("b")
    waiting = line(b, a, other)
    assert waiting.take(0.0) == [b, other]
    assert waiting.take(0.0) == [a]
    assert not waiting


def test_a_batch_ends_where_the_next_part_would_have_too_many_rows() -> None:
    parts = [part(rows=3), part(rows=2), part(rows=1)]
    waiting = line(*parts)
    assert waiting.take(0.0) == parts[:1]
    assert waiting.take(0.0) == parts[1:]


def test_a_batch_ends_where_the_next_part_would_have_too_many_bytes() -> None:
    parts = [part(size=600), part(size=400), part(size=1)]
    waiting = line(*parts)
    assert waiting.take(0.0) == parts[:2]
    assert waiting.take(0.0) == parts[2:]


def test_a_part_that_is_larger_than_any_batch_goes_alone() -> None:
    parts = [part(size=5000, rows=9), part()]
    waiting = line(*parts)
    assert waiting.take(0.0) == parts[:1]


def test_what_waits_is_counted_until_it_leaves() -> None:
    first, second = part(rows=2, size=10), part("b", rows=3, size=20, priority=1)
    waiting = line(first, second)
    assert (waiting.rows, waiting.size, list(waiting)) == (5, 30, [first, second])
    waiting.remove(second)
    waiting.remove(second)
    assert (waiting.rows, waiting.size, list(waiting)) == (2, 10, [first])
    assert waiting.take(0.0) == [first]
    assert (waiting.rows, waiting.size, list(waiting)) == (0, 0, [])


def test_a_group_that_left_at_one_go_keeps_nobody_with_priority_waiting() -> None:
    waiting = line(part(priority=1), part(priority=1), max_rows=2)
    assert waiting.batches(1) == 1
    assert len(waiting.take(0.0)) == 2
    assert waiting.batches(1) == 0


def test_priority_goes_first_within_a_key_and_between_keys() -> None:
    old, urgent, other = part("a"), part("a", priority=1), part("b", priority=1)
    waiting = line(old, urgent, other, max_rows=1)
    assert [waiting.take(0.0) for _ in range(3)] == [[urgent], [other], [old]]


def test_a_batch_of_those_with_priority_is_filled_up_with_others() -> None:
    parts = [part(), part(priority=1), part(), part(priority=1), part()]
    waiting = line(*parts)
    assert waiting.take(0.0) == [parts[1], parts[3], parts[0], parts[2]]


def test_priority_does_not_starve_the_others() -> None:
    old = part(since=0.0)
    waiting = line(old, max_rows=1)
    for tenth in range(11):
        waiting.add(part(since=HEAD_START * tenth / 10, priority=1))
    order = [waiting.take(0.0)[0] for _ in range(12)]
    assert order.index(old) == 10, "the last one came later than the head start makes good"


def test_who_left_is_passed_over_and_whose_time_is_over_is_told() -> None:
    left, late, patient = part(), part(deadline=1.0), part()
    left.answer.done = Mock(return_value=True)  # type: ignore[method-assign]
    waiting = line(left, late, patient)
    assert waiting.take(1.0) == [patient]
    late.answer.set_result.assert_called_once_with(LATE)  # type: ignore[attr-defined]
    left.answer.set_result.assert_not_called()  # type: ignore[attr-defined]
    assert waiting.rows == 0


def test_a_key_of_which_nobody_is_wanted_gives_its_turn_to_the_next() -> None:
    late, patient = part("a", deadline=1.0), part("b")
    assert line(late, patient).take(1.0) == [patient]


def test_for_company_a_batch_waits_from_its_oldest_part_on() -> None:
    first, second = part(since=5.0), part(since=6.0)
    waiting = line(first, second, patience=2.0)
    assert (waiting.take(6.9), waiting.due()) == ([], 7.0)
    assert waiting.take(7.0) == [first, second]


@pytest.mark.parametrize("company", [part(rows=3), part(size=999), part(priority=1)])
def test_a_batch_that_is_full_or_has_priority_waits_for_no_more_company(company: Part) -> None:
    first = part("b", since=0.0), part("a", since=1.0)
    waiting = line(*first, patience=2.0)
    assert waiting.take(1.0) == []
    company.key = "a"
    waiting.add(company)
    assert company in waiting.take(1.0)
    assert waiting.take(1.0) == []
    assert waiting.take(2.0) == [first[0]]


@pytest.mark.parametrize(
    ("parts", "normal", "urgent"),
    [
        ([], 0, 0),
        ([part(rows=3)], 0, 0),
        ([part(rows=4)], 1, 0),
        ([part(rows=4), part(rows=4)], 2, 0),
        ([part(size=999)], 0, 0),
        ([part(size=1000)], 1, 0),
        ([part("a"), part("b"), part("c")], 2, 0),
        ([part("a"), part("b", priority=1), part("c", priority=1)], 2, 1),
        ([part(rows=4, priority=1), part(rows=4)], 2, 1),
    ],
)
def test_how_many_batches_are_before_a_newcomers_depends_on_his_priority(
    parts: list[Part], normal: int, urgent: int
) -> None:
    waiting = line(*parts)
    assert (waiting.batches(0), waiting.batches(1)) == (normal, urgent)


def test_a_batch_is_full_if_nobody_could_join_whose_turn_it_is() -> None:
    assert not line().is_full()
    assert not line(part(rows=3)).is_full()
    assert line(part(rows=3), part()).is_full()
    assert line(part(size=1000)).is_full()
    assert line(part(shares=False)).is_full()
    assert not line(part("a"), part("b", rows=4)).is_full()
    assert line(part("a"), part("b", rows=4, priority=1)).is_full()


def test_who_shares_no_batch_does_not_wait_for_company() -> None:
    alone, other = part("a", shares=False), part("b")
    waiting = line(other, alone, patience=1.0)
    assert waiting.take(0.5) == [alone]
    assert waiting.take(0.5) == []
