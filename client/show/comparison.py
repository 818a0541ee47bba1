"""Jobs side by side as text."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence

from rich.console import Console

from client.models import AtEqual, Comparison
from client.show.tables import duration, labelled, number, show_lines, show_table

_VERDICTS = {
    "improved": "{b} is better than {a}",
    "worse": "{b} is worse than {a}",
    "no_clear_difference": "no clear difference between {a} and {b}",
}


def show_comparison(console: Console, found: Comparison) -> None:
    """The jobs are called a, b, c...: what they have reached at equal spending, what they have spent, their
    guards, and in what their specs differ."""
    names = dict(zip(found.jobs, string.ascii_lowercase, strict=False))
    lines = [f"{name}  {job_id}" for job_id, name in names.items()]
    lines.append("comparable" if found.comparable else "NOT comparable:")
    lines += [f"  {remark.detail}" for remark in found.reasons]
    lines += labelled("but", *(remark.detail for remark in found.caveats))
    lines += ["", f"{found.key} at equal {found.x.replace('_', ' ')}"]
    for place in found.at_equal_x:
        lines += _at_equal(place, names)
    show_lines(console, [*lines, ""])
    titles = ["", *names.values()]
    show_table(console, titles, _spent(found))
    if found.spec_diff:
        show_lines(console, [""])
        rows = [
            [one.pointer, *(json.dumps(value) for value in one.values)] for one in found.spec_diff
        ]
        show_table(console, ["differs", *names.values()], rows)


def _at_equal(place: AtEqual, names: dict[str, str]) -> list[str]:
    first, second = (names[job_id] for job_id in place.jobs)
    values = [
        f"{name} {'-' if value is None else f'{value:.4f}'}"
        for name, value in zip((first, second), place.values, strict=True)
    ]
    lines = [f"at {number(place.x)}: {', '.join(values)}"]
    if place.delta is not None and place.delta_ci95 is not None:
        low, high = place.delta_ci95
        interval = f"95 % interval [{low:+.4f}, {high:+.4f}]"
        lines.append(f"  {second} - {first} = {place.delta:+.4f}, {interval}, {place.basis}")
    if place.verdict is not None:
        lines.append(f"  {_VERDICTS[place.verdict].format(a=first, b=second)}")
    return lines


def _spent(found: Comparison) -> Sequence[Sequence[str]]:
    cost = found.cost
    return [
        ["steps", *(number(one.steps) for one in cost)],
        ["reward queries", *(number(one.reward_queries) for one in cost)],
        ["GPU time", *(duration(one.gpu_seconds) for one in cost)],
        ["wall clock", *(duration(one.wall_clock_s) for one in cost)],
        *(
            [
                f"guard {guard.reward}",
                *(_guard(value, ok) for value, ok in zip(guard.values, guard.ok, strict=True)),
            ]
            for guard in found.guards
        ),
    ]


def _guard(value: float | None, ok: bool | None) -> str:  # noqa: FBT001 (a fact of the guard)
    state = {True: "holds", False: "BROKEN", None: ""}[ok]
    return "-" if value is None else f"{value:.3g} {state}".rstrip()
