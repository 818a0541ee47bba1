"""The page's figures: curves of all methods at a task, and what their videos look like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.evidence import pictures, plots
from benchmarks.evidence.generalising import shown_prompts
from benchmarks.evidence.methods import METHODS
from benchmarks.evidence.reaching import bands
from benchmarks.evidence.results import Axis, Group, select
from benchmarks.evidence.tasks import TASKS, Task

AXES: dict[Axis, str] = {
    "reward_queries": "reward queries",
    "denoiser_forwards": "denoiser forward-equivalents",
    "seconds": "seconds of training",
}


def plot(groups: Sequence[Group], folder: Path, task: str, axis: Axis) -> str:
    """Writes the plot and refers to it."""
    order = list(METHODS)
    lines = [
        plots.Line(group.label, order.index(group.label), bands(group.curves(axis)))
        for group in select(groups, "methods", task=task)
    ]
    title = f"{TASKS[task].title}: held-out reward, mean and range over seeds"
    name = f"{task}-{axis.replace('_', '-')}.svg"
    (folder / name).write_text(plots.svg(title, AXES[axis], lines), encoding="utf-8")
    return f"![{title}, against {AXES[axis]}]({folder.name}/{name})"


def videos(groups: Sequence[Group], folder: Path, task: Task) -> Iterator[str]:
    """Writes the picture of all methods' videos, of each method's first seed that was examined."""
    runs = {
        group.label: outcome.run
        for group in select(groups, "methods", task=task.name)
        for outcome in reversed(group.ended)
        if (outcome.run / pictures.ADAPTER_STRIP).exists()
    }
    if not runs:
        return
    base = ("base model", next(iter(runs.values())) / pictures.BASE_STRIP)
    adapters = [(label, run / pictures.ADAPTER_STRIP) for label, run in runs.items()]
    name = f"{task.name}-videos.png"
    pictures.write_sheet(folder / name, [base, *adapters], shown_prompts(task))
    yield (
        "First, middle and last frame of four held-out videos, by every method's adapter of its first seed, from the "
        "same noise:"
    )
    yield f"![{task.title}: videos of the base model and of every adapter]({folder.name}/{name})"
