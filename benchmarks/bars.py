"""Draws the rates of a comparison as bars, in SVG, relative to the naive pod."""

from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.goals import NAIVE
from benchmarks.peers import table
from benchmarks.results import Results

_COLOURS: Final = {"pod": "#0969da", "naive": "#57606a", "peer": "#8c959f", "limit": "#d8dee4"}
_WIDTH, _LABEL, _BAR, _STEP, _TOP = 760, 220, 440, 24, 36
_CONNECTIONS: Final = 64


def draw(results: Results, path: Path) -> None:
    """Write the picture: a bar for each contender, the longest first."""
    kinds = {contender.name: contender.kind for contender in table.ALL}
    ratios = {name: ratio for name in kinds if (ratio := results.ratio(name, NAIVE, _CONNECTIONS)) is not None}
    order = sorted(ratios, key=ratios.__getitem__, reverse=True)
    scale = _BAR / max(ratios.values(), default=1)
    bars = [_bar(_TOP + _STEP * row, name, ratios[name], scale, kinds[name]) for row, name in enumerate(order)]
    height = _TOP + _STEP * len(order) + 8
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#1f2328">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'<text x="8" y="20" font-size="14">Requests a second at {_CONNECTIONS} connections, times the naive '
        f"pod's</text>\n{''.join(bars)}</svg>\n"
    )


def _bar(y: int, name: str, ratio: float, scale: float, kind: str) -> str:
    length = max(1.0, ratio * scale)
    return (
        f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="16" fill="{_COLOURS[kind]}"/>'
        f'<text x="{_LABEL + length + 6:.1f}" y="{y + 12}">{ratio:.2g}</text>\n'
    )
