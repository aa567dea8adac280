"""What the comparison makes of its measurements: medians, ratios within a round, goals, and the table."""

from pathlib import Path

import pytest

from benchmarks import bars, goals, report
from benchmarks.goals import CONSTANT, LITERT, NAIVE, POD, Goal
from benchmarks.results import End, Pair, Results, Start, Storm, Window

PEER = "PyTriton"
MARKS = "<!-- make bench writes from here -->\nold\n<!-- to here -->"


def window(name: str, number: int, rate: float, connections: int = 64, p50: float = 5) -> Window:
    return Window(name, connections, number, rate, p50=p50, p99=10, failed=0, cpu=0.1)


def results() -> Results:
    """A pod of nine times the naive pod's rate, on a machine that was half as fast in the second round."""
    rates = {POD: 9000.0, LITERT: 11000.0, NAIVE: 1000.0, PEER: 3000.0, CONSTANT: 12000.0}
    found = Results("2 processors", "short")
    for number, speed in enumerate([1.0, 0.5, 1.0]):
        found.windows += [window(name, number, rate * speed) for name, rate in rates.items()]
        found.windows += [window(name, number, 500, 1, p50=0.4) for name in rates]
    for name in rates:
        found.starts += [Start(name, 3.0, 500.0), Start(name, 5.0, 700.0)]
        found.ends.append(End(name, {} if name == POD else {"in flight": 2, "refused": 64}))
    found.calls = {"tensorflow": 200.0, "litert": 8.0}
    return found


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    found = results()
    found.windows.append(window(POD, 7, 1e9))  # of a round in which the other was not measured
    assert found.ratio(POD, NAIVE, 64) == pytest.approx(9)
    assert found.rate(NAIVE, 64) == 1000


def test_what_was_not_measured_is_none() -> None:
    found = Results("", "short")
    assert found.ratio(POD, NAIVE, 64) is found.rate(POD, 64) is found.pss(POD) is found.pair("any") is None
    assert found.ended(POD) == (0, {})


def test_memory_start_and_pairs_are_medians() -> None:
    found = results()
    found.pairs = [Pair("both", 2, 1), Pair("both", 9, 3), Pair("both", 4, 1), Pair("other", 1, 9), Pair("both", 1, 0)]
    assert (found.start(POD), found.pss(POD), found.pair("both")) == (4, 600, 3)


def test_ends_add_up_by_kind() -> None:
    found = results()
    found.ends.append(End(NAIVE, {"refused": 1, "hung": 3}))
    assert found.ended(NAIVE) == (2, {"in flight": 2, "refused": 65, "hung": 3})


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    results().save(tmp_path / "new/results.json")
    assert Results.load(tmp_path / "new/results.json") == results()


def test_the_best_peer_is_none_of_ours() -> None:
    assert goals.best(results()) == PEER
    assert goals.best(Results("", "short")) is None


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        (Goal("rate", 8, 9), "met"),
        (Goal("rate", 8, 7.9), "MISSED"),
        (Goal("p99", 8, 9, most=True), "MISSED"),
        (Goal("p99", 8, 8, most=True), "met"),
        (Goal("rate", 8, None), "not measured"),
    ],
)
def test_a_goal_says_whether_it_was_met(goal: Goal, said: str) -> None:
    assert said in str(goal)


def test_goals_are_about_the_ratios() -> None:
    reached = {goal.text: goal.reached for goal in goals.goals(results())}
    assert reached["requests a second at 64 connections, times the naive pod's"] == pytest.approx(9)
    assert reached["the same, times those of the best peer, PyTriton"] == pytest.approx(3)
    assert reached["latency of one connection, times bare call and constant answer"] == pytest.approx(0.4 / 0.6)
    assert reached["requests lost on SIGTERM"] == 0


def test_goals_of_an_empty_comparison_are_not_measured() -> None:
    assert all("not measured" in str(goal) for goal in goals.goals(Results("", "short")))


def test_the_table_replaces_what_stood_between_its_marks(tmp_path: Path) -> None:
    file, found = tmp_path / "README.md", results()
    found.errors["Ray Serve"] = "Traceback\nno such wheel"
    found.storms = [Storm(NAIVE, 20, 1, 0, 19, 90, 99), Storm(POD, 200, 100, 100, 0, 5, 9)]
    file.write_text(f"before\n{MARKS}\nafter\n")
    report.write(found, file)
    report.write(found, file)  # again, the same
    lines = file.read_text().splitlines()
    assert (lines[0], lines[-1], "old" in lines) == ("before", "after", False)
    assert any(line.startswith(f"| **{POD}** | 500 | - | 9,000 | - | 5 / 10 ms |") for line in lines)
    assert "Ray Serve does not run here: no such wheel" in lines
    (storm,) = [line for line in lines if line.startswith("At twice")]
    assert storm.index(f"{POD}, of 200 requests/s answers 100") < storm.index(NAIVE)


def test_no_table_is_written_where_nobody_asked_for_one(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("no marks")
    with pytest.raises(ValueError, match=r"README\.md lacks"):
        report.write(results(), file)
    assert file.read_text() == "no marks"


def test_the_picture_has_a_bar_for_each_contender_the_longest_first(tmp_path: Path) -> None:
    bars.draw(results(), tmp_path / "docs/bars.svg")
    drawn = (tmp_path / "docs/bars.svg").read_text()
    order = [drawn.index(f">{name}<") for name in (CONSTANT, LITERT, POD, PEER, NAIVE)]
    assert order == sorted(order)
    assert drawn.count("<rect") == 6
