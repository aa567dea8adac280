"""There is room for newcomers, and to make it costs little however many come."""

import asyncio
from typing import cast

from service.net.connections import ALL_CALLS, Connections, Patience
from tests.serving import PATIENT

LIMIT = 640


class Line(asyncio.Transport):
    """Tells how often it was looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks, self.cut = 0, False

    def is_closing(self) -> bool:
        self.looks += 1
        return self.cut

    def abort(self) -> None:
        self.cut = True


class Held:
    """A connection that waits for a request since then, or is at work."""

    def __init__(self, idle_since: float = 0.0, *, idle: bool = True) -> None:
        self.transport: asyncio.Transport = Line()
        self.idle_since, self.idle = idle_since, idle
        self.fresh = self.in_head = False

    @property
    def line(self) -> Line:
        """Its transport."""
        return cast("Line", self.transport)

    def drain(self) -> None: ...

    def close_if_idle(self) -> None: ...


def full(*, idle: bool) -> tuple[Connections, list[Held]]:
    connections = Connections(Patience(PATIENT.header, PATIENT.keep_alive, LIMIT))
    held = [Held(float(number), idle=idle) for number in range(LIMIT)]
    for each in held:
        connections.add(each)
    return connections, held


def cut(held: list[Held]) -> list[Held]:
    return [each for each in held if each.line.cut]


def looks(held: list[Held]) -> int:
    return sum(each.line.looks for each in held)


def test_a_few_of_the_longest_idle_are_cut_at_once() -> None:
    connections, held = full(idle=True)
    newcomer = Held(1000.0)
    connections.add(newcomer)
    assert cut([*held, newcomer]) == held[:11]


def test_many_newcomers_cost_few_looks_at_those_who_are_there() -> None:
    connections, held = full(idle=True)
    for number in range(LIMIT):
        connections.add(Held(1000.0 + number))
        for each in cut(held):  # their end comes a little later
            connections.remove(each)
    assert not [each for each in held if not each.line.cut]
    assert looks(held) < LIMIT * LIMIT // 10


def test_newcomers_to_connections_that_are_all_at_work_cost_one_look_at_a_time() -> None:
    connections, held = full(idle=False)
    newcomers = [Held(1000.0) for _ in range(100)]
    for each in newcomers:
        connections.add(each)
        connections.remove(each)
    assert cut([*held, *newcomers]) == newcomers
    assert looks(held) == LIMIT
    held[7].idle = True
    later = Held(1001.0)
    connections.add(later)
    assert cut([*held, later]) == [held[7]]


def test_who_is_about_to_close_keeps_no_place() -> None:
    connections, held = full(idle=False)
    held[3].transport.abort()
    newcomers = [Held(1000.0, idle=False), Held(1001.0, idle=False)]
    for each in newcomers:
        connections.add(each)
    assert cut(newcomers) == newcomers[1:]
    connections.remove(held[4])
    connections.remove(newcomers[1])
    last = Held(1002.0)
    connections.add(last)
    assert not cut([last])


def test_a_connection_may_have_its_share_of_all_calls_and_one_at_least() -> None:
    connections, _ = full(idle=False)
    connections.calls = ALL_CALLS - 1
    assert not connections.full(ALL_CALLS - 1)
    connections.calls = ALL_CALLS
    assert [connections.full(calls) for calls in (0, 5, 6)] == [False, False, True]
    connections.connections.update(Held(idle=False) for _ in range(ALL_CALLS))
    connections.calls = 2 * ALL_CALLS
    assert [connections.full(calls) for calls in (0, 1)] == [False, True]
