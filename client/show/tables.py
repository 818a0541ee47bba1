"""Tables, labelled lines, times and sizes as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
_LABEL = 12


def show_table(console: Console, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Nothing is cut: the first column, of ids, stays whole, and the others wrap on a narrow terminal.

    What is no terminal gets a line for every row.
    """
    table = Table(box=None, pad_edge=False)
    widest = max(len(cells[0]) for cells in (titles, *rows))
    for place, title in enumerate(titles):
        first = place == 0
        # `no_wrap` keeps a column out of the first round of shrinking, `min_width` out of the last one.
        table.add_column(title, overflow="fold", no_wrap=first, min_width=widest if first else None)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    whole = console if console.is_terminal else Console(file=console.file, width=_UNBOUNDED)
    whole.print(table, crop=False)


def show_lines(console: Console, lines: Sequence[str]) -> None:
    """Lines as they are: a long one is left to the terminal to break."""
    console.print(Text("\n".join(lines)), soft_wrap=True, highlight=False)


def labelled(label: str, *values: str) -> list[str]:
    """Lines of values below each other with the label before the first one."""
    return [
        f"{(label if number == 0 else ''):<{_LABEL}}{value}" for number, value in enumerate(values)
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose cells stand below each other."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def moment(at: datetime | None) -> str:
    """Day and time of this machine's time zone."""
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def age(at: datetime) -> str:
    """How long ago, in its largest unit."""
    return duration((datetime.now(UTC) - at).total_seconds()).split()[0]


def duration(seconds: float) -> str:
    """Seconds in the two largest units of days, hours, minutes and seconds."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """Bytes in a unit that leaves at most four digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def number(value: float | None) -> str:
    """A number with groups of three digits, without needless decimals."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.4g}"
