"""Draws a course of autoscaling: load, metric and pods over time, one above the other."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.course import GPU, REQUESTS, Course

_UNITS = {REQUESTS: "requests a second", GPU: "percent of one GPU"}
_LOAD, _METRIC, _WANTED, _READY, _GRID = "#57606a", "#0969da", "#bc4c00", "#1a7f37", "#d8dee4"

# Text stays text, and the same course gives the same bytes.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tfpod",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(course: Course, output: Path) -> None:
    """Write the picture as SVG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 6.4), layout="constrained")
        load, metric, pods = figure.subplots(3, sharex=True)
        _draw_load(load, course)
        _draw_metric(metric, course)
        _draw_pods(pods, course)
        for axes in (load, metric, pods):
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color=_GRID, linewidth=0.8)
            axes.set_axisbelow(True)
            for step in (1, 2):
                axes.axvline(course.begin(step), color=_LOAD, linewidth=0.8, linestyle=":")
        pods.set_xlim(0, course.begin(len(course.steps)))
        pods.set_xlabel("seconds")
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, metadata={"Date": None, "Creator": None})


def _draw_load(axes: Axes, course: Course) -> None:
    axes.step([sample.second for sample in course.samples], [sample.load for sample in course.samples],
        where="post", color=_LOAD)  # fmt: skip
    axes.set_title(f"Load offered: {_UNITS[course.metric]}", loc="left")


def _draw_metric(axes: Axes, course: Course) -> None:
    seconds = [sample.second for sample in course.samples]
    served = [float("nan") if sample.served is None else sample.served for sample in course.samples]
    observed = [float("nan") if sample.observed is None else sample.observed for sample in course.samples]
    axes.plot(seconds, served, color=_METRIC, label="served by the adapter")
    axes.step(seconds, observed, where="post", color=_METRIC, alpha=0.4, label="last read by the HPA")
    axes.axhline(course.goal, color=_WANTED, linewidth=1, linestyle="--", label="target")
    axes.set_title(f"{course.metric}: mean over the pods", loc="left")
    axes.legend(frameon=False, loc="upper right")


def _draw_pods(axes: Axes, course: Course) -> None:
    seconds = [sample.second for sample in course.samples]
    ready = [sample.ready for sample in course.samples]
    axes.step(
        seconds, [sample.wanted for sample in course.samples], where="post", color=_WANTED, label="wanted by the HPA"
    )
    axes.fill_between(seconds, ready, step="post", color=_READY, alpha=0.25, linewidth=0)
    axes.step(seconds, ready, where="post", color=_READY, label="ready")
    axes.set_yticks(range(max(sample.wanted for sample in course.samples) + 2))
    axes.set_title(_outcome(course), loc="left")
    axes.legend(frameon=False, loc="upper right")


def _outcome(course: Course) -> str:
    out = course.summary()["out"]
    when = f"{out['pods']} wanted {out['wanted_after_s']} s after the step, ready after {out['ready_after_s']} s"
    return f"Pods: {when}; {course.load['failed']} of {course.load['offered']} requests failed"
