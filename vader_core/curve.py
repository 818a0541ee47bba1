"""The reward curve of a run as a small SVG picture. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[int, float]

_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 40
_TRAINING, _HELDOUT = "#94a3b8", "#15803d"


def svg(training: Sequence[Point], heldout: Sequence[Point]) -> str:
    """`training` are (step, reward) of every step, `heldout` of every evaluation, from step 0 on."""
    points = [*training, *heldout] or [(0, 0.0)]
    steps = [step for step, _ in points]
    rewards = [reward for _, reward in points]
    low, high = min(rewards), max(rewards)
    frame = _Frame(max(max(steps), 1), low, high if high > low else low + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#3f3f46">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_axes(frame),
        _line(frame, training, colour=_TRAINING, width=1.5),
        _line(frame, heldout, colour=_HELDOUT, width=2.5),
        *(_dot(frame, point) for point in heldout),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


class _Frame:
    """Maps steps and rewards to places in the picture."""

    def __init__(self, last_step: int, low: float, high: float) -> None:
        self.last_step, self.low, self.high = last_step, low, high

    def x(self, step: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / self.last_step

    def y(self, reward: float) -> float:
        share = (reward - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def _axes(frame: _Frame) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    middle = (frame.low + frame.high) / 2
    rules = [
        f'<line x1="{_LEFT}" y1="{frame.y(value):.1f}" x2="{right}" y2="{frame.y(value):.1f}" '
        f'stroke="#e4e4e7"/><text x="{_LEFT - 8}" y="{frame.y(value) + 4:.1f}" '
        f'text-anchor="end">{value:.3g}</text>'
        for value in (frame.low, middle, frame.high)
    ]
    return [
        *rules,
        f'<text x="{_LEFT}" y="{bottom + 20}">0</text>',
        f'<text x="{right}" y="{bottom + 20}" text-anchor="end">step {frame.last_step}</text>',
        f'<text x="{_LEFT}" y="24" fill="{_TRAINING}">training reward</text>',
        f'<text x="{_LEFT + 120}" y="24" fill="{_HELDOUT}">held-out reward</text>',
    ]


def _line(frame: _Frame, points: Sequence[Point], *, colour: str, width: float) -> str:
    if not points:
        return ""
    places = " ".join(f"{frame.x(step):.1f},{frame.y(reward):.1f}" for step, reward in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _dot(frame: _Frame, point: Point) -> str:
    step, reward = point
    return (
        f'<circle cx="{frame.x(step):.1f}" cy="{frame.y(reward):.1f}" r="3.5" fill="{_HELDOUT}"/>'
    )
