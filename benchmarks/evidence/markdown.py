"""Tables and figures as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

NOTHING = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def figure(value: float | None) -> str:
    """Three digits that count; whole numbers from 1,000 on."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Mean, lowest and highest: "0.4 (0.3 to 0.5)"; a value that all share stands alone."""
    if not values:
        return NOTHING
    mean, low, high = map(figure, (statistics.fmean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def times(ratio: float | None) -> str:
    """A ratio as "4.0 x"."""
    return NOTHING if ratio is None else f"{ratio:.1f} x"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
