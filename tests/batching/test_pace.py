"""service/batching/pace.py: what is expected of a model from how it has been."""

import pytest

from service.batching.pace import Pace


def pace(*batches: tuple[int, float]) -> Pace:
    made = Pace(64)
    for rows, seconds in batches:
        made.computed(rows, seconds, 0, 0.0)
    return made


def test_of_a_model_that_has_done_nothing_nothing_is_expected() -> None:
    assert (pace().batch_seconds, pace().wait(3, 0.0)) == (0.0, 0.0)


def test_batches_that_are_all_alike_are_expected_to_go_on() -> None:
    assert pace(*[(8, 0.02)] * 5).batch_seconds == pytest.approx(0.02)


def test_one_large_batch_tells_more_than_many_small_ones() -> None:
    assert pace(*[(1, 0.005)] * 100, (64, 0.040)).batch_seconds > 0.035


def test_what_was_slow_once_is_soon_forgotten() -> None:
    assert pace((64, 30.0), *[(64, 0.04)] * 20).batch_seconds < 0.2


def test_the_wait_is_the_rest_of_the_batch_under_way_and_the_batches_before() -> None:
    steady = pace((64, 0.04))
    assert steady.wait(0, 0.0) == 0.0
    assert steady.wait(2, 0.0) == pytest.approx(0.08)
    assert steady.wait(2, 0.01) == pytest.approx(0.11)


def test_a_batch_that_takes_much_longer_than_usual_tells_of_those_behind_it() -> None:
    assert pace((64, 0.04)).wait(2, 0.9) == pytest.approx(0.08), "its end may not have been heard of yet"
    assert pace((64, 0.04)).wait(2, 1.5) == pytest.approx(3.0)


def test_a_burst_is_no_overload() -> None:
    burst = Pace(64)
    burst.computed(64, 0.04, 500, 10.0)
    assert not burst.overloaded(10.1)
    burst.computed(64, 0.04, 64, 10.1)
    assert not burst.overloaded(99.0)


def test_more_than_a_batch_left_waiting_time_and_again_is_an_overload() -> None:
    crowd = Pace(64)
    for tick in range(4):
        crowd.computed(64, 0.04, 65, 10.0 + 0.04 * tick)
    assert crowd.overloaded(10.12)


def test_an_overload_is_over_when_for_a_second_nobody_was_refused() -> None:
    crowd = Pace(64)
    crowd.computed(64, 0.04, 65, 10.0)
    assert crowd.overloaded(11.0)
    crowd.refused(11.0)
    crowd.computed(64, 0.04, 64, 11.0)
    assert crowd.overloaded(11.99)
    assert not crowd.overloaded(12.0)
