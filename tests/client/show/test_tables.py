from __future__ import annotations

import io

import pytest
from rich.console import Console

from client.show.tables import aligned, duration, labelled, number, show_table, size


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0s"), (59.4, "59s"), (3600, "1h"), (3661, "1h 1m"), (93_784, "1d 2h"), (-3, "0s")],
)
def test_durations_have_their_two_largest_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB")]
)
def test_sizes_have_at_most_four_digits(count: int, told: str) -> None:
    assert size(count) == told


@pytest.mark.parametrize(
    ("value", "told"), [(None, "-"), (25600, "25,600"), (0.5, "0.5"), (1234.5, "1,234"), (2.0, "2")]
)
def test_numbers_have_no_needless_decimals(value: float | None, told: str) -> None:
    assert number(value) == told


def test_a_label_stands_before_the_first_of_its_lines_alone() -> None:
    assert labelled("files", "one", "two") == ["files       one", "            two"]
    assert labelled("files") == []


def test_cells_stand_below_each_other() -> None:
    assert aligned([("a", "1"), ("long", "2")]) == ["a     1", "long  2"]
    assert aligned([]) == []


def test_a_table_fits_the_terminal_and_keeps_its_ids_whole() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    ids = [f"job_01kax4b7c8d9e0f1g2h3j4k5m{n}" for n in range(3)]
    rows = [(one, "a name of many words " * 3, "running", "a remark " * 4) for one in ids]
    show_table(console, ("job", "name", "status", "remark"), rows)
    lines = screen.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert [line.split()[0] for line in lines if line.startswith("job_")] == ids
