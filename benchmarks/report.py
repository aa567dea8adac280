"""What a comparison found, as text for people and for README.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.goals import CONSTANT, LITERT, NAIVE, POD, best, goals
from benchmarks.peers import table
from benchmarks.results import Results

_BEGIN: Final = "<!-- make bench writes from here -->"
_END: Final = "<!-- to here -->"
_RUNTIMES: Final = {"tensorflow": "TensorFlow", "litert": "LiteRT"}
_COLUMNS: Final = (1, 16, 64, 256)
_HEAD: Final = (
    "| | requests/s at 1 | 16 | 64 | 256 connections | p50 / p99 at 64 | CPU a request | memory (PSS) | start "
    "| lost in a SIGTERM |\n|---|---|---|---|---|---|---|---|---|---|"
)


def text(results: Results) -> str:
    """Return all that was found, for a terminal."""
    lines = [_HEAD, *_rows(results), "", _limits(results), "", *_storms(results), "", *_failures(results), ""]
    lines += [f"{name} fails: {error}" for name, error in results.errors.items()]
    return "\n".join([*lines, *map(str, goals(results))])


def write(results: Results, path: Path) -> None:
    """Put the table between its two marks in a file; raise ValueError where they are not."""
    old = path.read_text()
    if _BEGIN not in old or _END not in old:
        raise ValueError(f"{path} lacks {_BEGIN} and {_END}")
    before, _, rest = old.partition(_BEGIN)
    after = rest.partition(_END)[2]
    path.write_text(f"{before}{_BEGIN}\n{_section(results)}\n{_END}{after}")


def _section(results: Results) -> str:
    caption = (
        "One model, 32 numbers through two layers of 256, and one row a request, as JSON. Each peer is a server in\n"
        "`benchmarks/peers/` with TensorFlow in an environment of its own, and batching where it has any. The load, "
        f"by `wrk`, comes\nfrom the same machine: {results.machine}. Medians of {len(results.of(POD, 64))} windows in "
        "turn. `make bench` does it again; it needs wrk."
    )
    picture = "![Requests a second at 64 connections, times the naive pod's](docs/benchmark.svg)"
    failed = [f"{name} does not run here: {error.splitlines()[-1]}" for name, error in results.errors.items()]
    paragraphs = [caption, picture, "\n".join([_HEAD, *_rows(results)]), _ratios(results), _limits(results)]
    return "\n\n".join([*paragraphs, *_storms(results, 3), *failed])


def _rows(results: Results) -> Iterator[str]:
    for contender in (*table.PODS, *table.PEERS):
        name = contender.name
        if not results.of(name, 64):
            continue
        rates = (_number(results.rate(name, connections)) for connections in _COLUMNS)
        p50, p99 = (_number(results.quantile(name, 64, which), 3) for which in ("p50", "p99"))
        runs, lost = results.ended(name)
        cells = [
            f"**{name}**" if contender.kind == "pod" else name, *rates, f"{p50} / {p99} ms",
            f"{_number(results.quantile(name, 64, 'cpu'), 2)} ms", f"{_number(results.pss(name))} MB",
            f"{_number(results.start(name), 2)} s", _number(lost.total() / runs, 3) if runs else "-",
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _ratios(results: Results) -> str:
    rival = best(results) or NAIVE
    shares = [(POD, NAIVE, f"times the {NAIVE}'s"), (POD, rival, f"times {rival}'s"),
        (POD, CONSTANT, "of Starlette's constant answer"), (LITERT, CONSTANT, "of it with LiteRT")]  # fmt: skip
    found = [
        f"{ratio:.1f} {what}" if ratio > 1 else f"{ratio:.0%} {what}"
        for name, other, what in shares
        if (ratio := results.ratio(name, other, 64)) is not None
    ]
    return f"Requests a second at 64 connections, the median of each round's ratio: {', '.join(found)}."


def _limits(results: Results) -> str:
    rates = [f"{limit.name} {_number(results.rate(limit.name, 64))}" for limit in table.LIMITS]
    bare = [
        f"a bare call of {_RUNTIMES[name]} {_number(call)} µs, {_number(results.rows.get(name))} rows/s by 64"
        for name, call in results.calls.items()
    ]
    return f"Limits, requests/s at 64 connections: {'; '.join([*rates, *bare])}."


def _failures(results: Results) -> Iterator[str]:
    for name, connections in dict.fromkeys((window.name, window.connections) for window in results.windows):
        if failed := sum(window.failed for window in results.of(name, connections)):
            yield f"{name}, {connections} connections: {failed} answers were none of 2xx; no rate counts them"


def _storms(results: Results, most: int | None = None) -> list[str]:
    """Return a paragraph about so many contenders, those that people look for first."""
    first = [POD, NAIVE, best(results)]
    order = sorted(results.storms, key=lambda storm: first.index(storm.name) if storm.name in first else len(first))
    said = [
        f"{storm.name}, of {_number(storm.offered)} requests/s answers {_number(storm.answered)}, p99 "
        f"{_number(storm.p99)} ms, refuses {_number(storm.refused)}, loses {_number(storm.lost)}"
        for storm in order[:most]
    ]
    return [f"At twice its own capacity, with a model of some milliseconds: {'; '.join(said)}."] if said else []


def _number(value: float | None, digits: int = 0) -> str:
    """Return a number for people: with thousands, or with so many significant digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if not digits or value >= 10**digits else f"{float(f'{value:.{digits}g}'):g}"
