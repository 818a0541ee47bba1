"""Curves with bands as SVG: means over seeds, and from the lowest to the highest of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.evidence.reaching import Band

COLOURS = (
    "#15803d",
    "#b91c1c",
    "#1d4ed8",
    "#a16207",
    "#7e22ce",
    "#0e7490",
    "#be185d",
    "#4d7c0f",
    "#475569",
    "#c2410c",
    "#3730a3",
    "#0f766e",
)
_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 200, 36, 48
_TICKS = 4


@dataclass(frozen=True)
class Line:
    """One line of a plot; `colour` is an index into `COLOURS`."""

    label: str
    colour: int
    bands: Sequence[Band]


@dataclass(frozen=True)
class _Frame:
    """Maps values to places in the picture."""

    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self.right

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def svg(title: str, x_label: str, lines: Sequence[Line]) -> str:
    """The picture; lines without points are left out. `x` starts at 0."""
    drawn = [line for line in lines if line.bands]
    frame = _frame([band for line in drawn for band in line.bands])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#3f3f46">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
        *_axes(frame, x_label),
        *(_area(frame, line) for line in drawn),
        *(_mean(frame, line) for line in drawn),
        *(_legend(row, line) for row, line in enumerate(drawn)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame(bands: Sequence[Band]) -> _Frame:
    right = max((band.x for band in bands), default=1.0) or 1.0
    low = min((band.low for band in bands), default=0.0)
    high = max((band.high for band in bands), default=1.0)
    return _Frame(right, low, high if high > low else low + 1)


def _axes(frame: _Frame, x_label: str) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for tick in range(_TICKS + 1):
        value = frame.low + (frame.high - frame.low) * tick / _TICKS
        y = frame.y(value)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#e4e4e7"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for value in _round_ticks(frame.right):
        parts.append(
            f'<text x="{frame.x(value):.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>'
        )
    middle = (_LEFT + right) / 2
    label = escape(x_label)
    parts.append(f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">{label}</text>')
    return parts


def _round_ticks(right: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from 0, three to seven of them."""
    power = 10.0 ** math.floor(math.log10(right))
    step = next(f * power for f in (0.2, 0.5, 1.0, 2.0, 5.0) if right / (f * power) <= 6)
    return [step * number for number in range(math.floor(right / step + 1e-9) + 1)]


def _area(frame: _Frame, line: Line) -> str:
    there = [f"{frame.x(band.x):.1f},{frame.y(band.high):.1f}" for band in line.bands]
    back = [f"{frame.x(band.x):.1f},{frame.y(band.low):.1f}" for band in reversed(line.bands)]
    colour = COLOURS[line.colour % len(COLOURS)]
    return f'<polygon points="{" ".join(there + back)}" fill="{colour}" fill-opacity="0.12"/>'


def _mean(frame: _Frame, line: Line) -> str:
    places = " ".join(f"{frame.x(band.x):.1f},{frame.y(band.mean):.1f}" for band in line.bands)
    colour = COLOURS[line.colour % len(COLOURS)]
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _legend(row: int, line: Line) -> str:
    x, y = _WIDTH - _RIGHT + 16, _TOP + 18 * row + 8
    colour = COLOURS[line.colour % len(COLOURS)]
    return (
        f'<rect x="{x}" y="{y - 4}" width="14" height="4" fill="{colour}"/>'
        f'<text x="{x + 20}" y="{y + 3}">{escape(line.label)}</text>'
    )
