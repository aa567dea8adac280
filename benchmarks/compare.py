"""Compares the pod with every peer and with what limits it, in one run: `make bench`.

All contenders serve the same model and get the same bytes. They are alive together and measured in short windows in
an order that chance gives; who is not measured is stopped. Trust the ratios: each is the median of those within one
round. Every peer has an environment of its own, which the first run makes. Table and picture go into README.md.

    python -m benchmarks.compare               # some 8 minutes
    python -m benchmarks.compare --form full   # some 30
    python -m benchmarks.compare --redraw      # the table again, from build/bench/results.json
"""

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import uvloop

from benchmarks import bars, goals, report, wrk
from benchmarks.alone import ends, start_and_end
from benchmarks.contest import Contest
from benchmarks.environments import InstallError, environment
from benchmarks.pairs import bare, binary, compute
from benchmarks.peers import table
from benchmarks.programs import ROOT, clean
from benchmarks.results import End, Results
from benchmarks.storms import storm
from benchmarks.workloads import TINY

RESULTS: Final = table.BUILD / "results.json"
PICTURE: Final = ROOT / "docs/benchmark.svg"
_LIVING: Final = (*table.PODS, *table.PEERS)


@dataclass(frozen=True)
class Form:
    """How much is measured."""

    rounds: Mapping[int, int]  # by number of connections
    seconds: int  # of a window; with 64 connections, at which ratios are taken, 2
    starts: int  # of each contender alone, each with an end
    ends: int  # of each, in all
    storm: float  # seconds
    storms: bool  # of all, or only of the pods, the naive one and the best peer


_FORMS: Final = {
    "short": Form({1: 1, 16: 1, 64: 3, 256: 1}, 1, starts=1, ends=3, storm=4, storms=False),
    "full": Form({1: 2, 16: 1, 64: 6, 256: 1}, 2, starts=1, ends=20, storm=8, storms=True),
}


@dataclass
class Comparison:
    """One run."""

    form: Form
    results: Results
    _begun: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Measure all, stage by stage; a SIGTERM ends it, and all servers, as Ctrl-C does."""
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        self.prepare()
        for stage in (self.contest, self.alone, self.limits, self.storms, self.ends):
            self.say(f"--- {stage.__name__}")
            try:
                await stage()
            except (RuntimeError, OSError) as error:
                self.say(f"{stage.__name__} goes no further: {error}")
            self.results.save(RESULTS)

    def say(self, line: str) -> None:
        """Print what goes on."""
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        print(f"{minutes:>3}:{seconds:02} {line}", flush=True)

    def prepare(self) -> None:
        """Make the environments and the models; who cannot be installed is named with the error."""
        for contender in table.ALL:
            self.say(f"install {contender.name}")
            try:
                environment(contender.environment)
            except InstallError as error:
                self._failed(contender, error)
        (table.BUILD / "mlserver").mkdir(parents=True, exist_ok=True)
        lite = TINY.folder(table.LITE_MODELS) / "1"
        lite.mkdir(parents=True, exist_ok=True)
        self.say("make the models")
        _python("-m", "compileall", "-q", "service", "benchmarks")
        _python("-m", "benchmarks.workloads", str(table.MODELS))
        _python("-m", "service.convert", str(TINY.folder(table.MODELS) / "1"), str(lite / "model.tflite"))

    async def contest(self) -> None:
        """Measure all in turn: once to warm up, then with more and more connections.

        BentoML waits ever after for company that it once had: one connection comes first.
        """
        async with Contest.of(table.ALL, TINY, self.results.errors, self.say) as contest:
            await contest.round(-1, 1, 1)
            for connections, rounds in self.form.rounds.items():
                for number in range(rounds):
                    seconds = 2 if connections == 64 else self.form.seconds
                    self.results.windows += await contest.round(number, connections, seconds)

    async def alone(self) -> None:
        """Start and end each, nothing else running; their files have been read by now."""
        for _ in range(self.form.starts):
            for contender in self._able(_LIVING):
                try:
                    start, end = await start_and_end(contender)
                except RuntimeError as error:
                    self._failed(contender, error)
                    continue
                self.results.starts.append(start)
                self.results.ends.append(end)
                lost = sum(end.lost.values())
                self.say(f"{contender.name}: first answer after {start.seconds:.1f} s, {start.pss:.0f} MB, lost {lost}")

    async def limits(self) -> None:
        """Measure the bare model, and the pod where the model or the input is large."""
        await bare(self.results, self.say)
        await compute(self.results, self.form.rounds[64], self.say)
        await binary(self.results, self.form.rounds[64], self.say)

    async def storms(self) -> None:
        """Ask for twice the capacity."""
        best = goals.best(self.results)
        few = [*table.PODS[:1], table.NAIVE, *(peer for peer in table.PEERS if peer.name == best)]
        for contender in self._able(_LIVING[:1] + table.PEERS if self.form.storms else few):
            try:
                found = await storm(contender, self.form.storm)
            except RuntimeError as error:
                self.say(f"{contender.name}: {error}")
                continue
            self.results.storms.append(found)
            self.say(
                f"{found.name}: {found.offered:.0f}/s offered, {found.answered:.0f} answered, p99 {found.p99:.0f} ms, "
                f"{found.refused:.0f} refused, {found.lost:.0f} lost"
            )

    async def ends(self) -> None:
        """End each as often as the form says."""
        await ends(self._able(_LIVING), self.form.ends - self.form.starts, self._ended)

    def _ended(self, contender: table.Contender, found: list[End | BaseException]) -> None:
        self.results.ends += [end for end in found if isinstance(end, End)]
        runs, lost = self.results.ended(contender.name)
        self.say(f"{contender.name}: {lost.total()} lost in {runs} ends {dict(lost) or ''}")
        for error in (error for error in found if isinstance(error, BaseException)):
            self.say(f"{contender.name}, not counted: {error}")

    def _able(self, contenders: tuple[table.Contender, ...] | list[table.Contender]) -> list[table.Contender]:
        return [contender for contender in contenders if contender.name not in self.results.errors]

    def _failed(self, contender: table.Contender, error: Exception) -> None:
        self.results.errors[contender.name] = str(error)
        self.say(f"{contender.name} fails: {error}")


def main() -> None:
    """Measure, and write the table and the picture; or only write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=_FORMS, default="short", help="full: more rounds, 20 ends, all overloaded")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    given = parser.parse_args()
    if not given.redraw:
        if wrk.missing():
            sys.exit("the load comes from wrk, which is not installed: apt-get install wrk, or brew install wrk")
        uvloop.run(Comparison(_FORMS[given.form], Results(_machine(), given.form)).run())
    results = Results.load(RESULTS)
    print(report.text(results))
    report.write(results, ROOT / "README.md")
    bars.draw(results, PICTURE)


def _machine() -> str:
    return f"{os.cpu_count()} processors, {platform.system()}"


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=clean({}), check=True, capture_output=True)


if __name__ == "__main__":
    main()
