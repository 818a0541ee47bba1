"""docs/evidence.md with its plots and CSV files: figures by code, what they mean by hand in notes/*.md.

A note stands at the end of its section: summary, tuning, headline, methods-<task>, seen-and-unseen, honesty,
sites, longer, judge, limits. Those that are not there are left out.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence import points_csv
from benchmarks.evidence.cells import EVALUATION_SEEDS
from benchmarks.evidence.cosines import Cosines
from benchmarks.evidence.elsewhere_tables import SETS, difference_table, judge_table, trials_table
from benchmarks.evidence.figures import AXES, plot, videos
from benchmarks.evidence.honesty_tables import break_table, guard_table
from benchmarks.evidence.markdown import table
from benchmarks.evidence.method_tables import (
    BASELINES,
    equal_table,
    final_table,
    headline_table,
    tuning_table,
)
from benchmarks.evidence.methods import LEARNING_RATES, METHODS, TUNING_SEED, TUNING_TASK, Tuning
from benchmarks.evidence.results import Group, select
from benchmarks.evidence.site_tables import cosine_table, site_table
from benchmarks.evidence.sites import SITE_TASKS
from benchmarks.evidence.studies import ANCHOR_TASK, SEEDS, SITE_QUERIES, TUNING_QUERIES
from benchmarks.evidence.tasks import TASKS

NOTES = Path(__file__).with_name("notes")


@dataclass(frozen=True)
class Material:
    """What the page is made of. `folder` is that of the plots and CSV files, beside the page."""

    tuning: Tuning
    groups: Sequence[Group]
    cosines: Sequence[Cosines]
    folder: Path
    notes: Path = NOTES


def write(page: Path, material: Material) -> None:
    """Writes the page, its plots and its CSV files."""
    material.folder.mkdir(parents=True, exist_ok=True)
    points_csv.write_all(material.folder, material.groups, material.cosines)
    parts = [part for section in _SECTIONS for part in section(material)]
    text = "\n\n".join(["# The methods side by side", *parts]) + "\n"
    page.write_text(text, encoding="utf-8")


def _note(material: Material, name: str) -> Iterator[str]:
    """What was written by hand about a section, where it was."""
    file = material.notes / f"{name}.md"
    if file.exists():
        yield file.read_text(encoding="utf-8").strip()


def _made(material: Material) -> Iterator[str]:
    ended = sum(len(group.ended) for group in material.groups)
    failed = sum(len(group.failed) for group in material.groups)
    missing = [cell for group in material.groups for cell in group.missing]
    yield (
        "Made by `python -m benchmarks.evidence --runs DIR`; the same command goes on where it was stopped. "
        f"This page: {time.strftime('%Y-%m-%d')}, {platform.machine()}, one thread for each training, "
        f"{ended} trainings ended, {failed} failed, {len(missing)} not run. The points behind every figure "
        f"are in [{material.folder.name}/]({material.folder.name}/)."
    )
    yield from _note(material, "summary")
    yield "## How it was measured"
    yield (
        f"All trainings start from the same base models, with the seeds {_list(SEEDS)}. At one task all methods "
        f"have the same number of reward queries ({_budgets()}; {SITE_QUERIES} where sites are compared), and are "
        f"evaluated at least six times on held-out prompts under the seeds {_list(EVALUATION_SEEDS)}, with the "
        "same noise for base and adapter; reward gradients more often, for they rise early. "
        f"{_learnt_steps()} Evaluations are not "
        "counted as queries, forwards or seconds. A forward-equivalent is the denoiser's forward pass of one "
        "video and guidance branch; with its backward pass it counts 3. Seconds are those for which a training "
        "had a processor: its seconds times the part of them that its process did not wait on a busy machine. Spreads are from the lowest to the "
        "highest seed. Settings are in `benchmarks/evidence/methods.py`, tasks and prompts in `tasks.py`."
    )
    yield "### Tuning"
    yield (
        f"Every method got the same trials: {len(LEARNING_RATES)} learning rates, and one other setting at the best of "
        f"them. One seed ({TUNING_SEED}, not among those above), {TUNING_QUERIES} queries, the task "
        f"`{TUNING_TASK}`; the held-out reward at the end (base model: {material.tuning.base_reward:.3g}) chose, "
        "and what was chosen is used at every task."
    )
    yield tuning_table(material.tuning)
    yield from _note(material, "tuning")


def _learnt_steps() -> str:
    """What the gradient-free methods learn from, where that is not every denoising step."""
    learnt = {
        name: settings["train_steps"]
        for name, settings in METHODS.items()
        if settings.get("train_steps")
    }
    if not learnt:
        return ""
    counts = ", ".join(f"{name} {steps}" for name, steps in learnt.items())
    return f"Of a video's 10 denoising steps some methods learn from as many as this, drawn anew each time: {counts}."


def _list(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _budgets() -> str:
    return ", ".join(f"{task.name} {task.queries}" for task in TASKS.values())


def _missing(material: Material) -> Iterator[str]:
    """What the page could not take from any run, variants with the same gap in one row."""
    gaps: dict[tuple[str, ...], list[str]] = {}
    for group in material.groups:
        seeds = _list([cell.seed for cell in group.missing])
        if seeds:
            place = group.study, group.task, group.base_model, seeds
            gaps.setdefault(place, []).append(group.label)
    if gaps:
        yield "## Not run"
        head = ["study", "task", "base model", "seeds without a run", "variants"]
        yield table(head, [[*place, ", ".join(labels)] for place, labels in gaps.items()])


def _headline(material: Material) -> Iterator[str]:
    yield "## Queries to reach the same reward"
    yield (
        "How many reward queries each method needs until its held-out reward, as the mean over seeds, first "
        "comes to where the baseline ended. `fewer` is what the baseline itself needed over what the method "
        "needed: 4 x is a quarter of it, below 1 is more. Between evaluations the curves are taken as "
        "straight; `seen at` is the first evaluation there."
    )
    for baseline in BASELINES:
        yield f"### To the end of `{baseline}`"
        yield headline_table(material.groups, baseline)
    yield "### The paper's table"
    yield (
        "VADER's Table 1 (arXiv 2407.08737, v1) gives rewards at the end, no ratio, no seeds and no error bars; "
        "its training budgets are in curves only."
    )
    yield _paper_table()
    yield from _note(material, "headline")


def _paper_table() -> str:
    head = ["method", "aesthetic, train", "test", "HPS, train", "test", "action, train"]
    rows = [
        ["base", "4.61", "4.49", "0.25", "0.24", "0.14"],
        ["DDPO", "4.63", "4.52", "0.24", "0.23", "0.21"],
        ["Diffusion-DPO", "4.71", "4.41", "0.25", "0.24", "0.23"],
        ["VADER", "7.31", "7.12", "0.33", "0.32", "0.79"],
    ]
    return table(head, rows)


def _methods(material: Material) -> Iterator[str]:
    yield "## Held-out reward against queries and compute"
    for task in TASKS.values():
        if not select(material.groups, "methods", task=task.name):
            continue
        yield f"### {_heading(task.name)}"
        yield final_table(material.groups, task.name)
        yield "The mean curves once every method had used as much as the most frugal one:"
        yield equal_table(material.groups, task.name)
        for axis in AXES:
            yield plot(material.groups, material.folder, task.name, axis)
        yield from videos(material.groups, material.folder, task)
        yield from _note(material, f"methods-{task.name}")


def _heading(task: str) -> str:
    title = TASKS[task].title
    return title[0].upper() + title[1:]


def _per_task(material: Material) -> Iterator[str]:
    for task in TASKS:
        if select(material.groups, "methods", task=task):
            yield task


def _elsewhere(material: Material) -> Iterator[str]:
    yield "## Seen and unseen prompts"
    yield (
        "The change of the trained reward, adapter minus base, under seeds of their own: prompts that were "
        "trained on, combinations of trained words, and a colour that no training prompt names. `above 0` "
        "counts the seeds whose 95 % interval lies above 0."
    )
    for task in _per_task(material):
        yield f"### {_heading(task)}"
        yield difference_table(material.groups, task, SETS[:3])
    yield from _note(material, "seen-and-unseen")


def _honesty(material: Material) -> Iterator[str]:
    yield "## What was not trained on"
    yield (
        "Guards are measured at every evaluation and trained on by none of these methods. A guard breaks when "
        "diversity or motion falls below 0.7 of the base model's, or another reward by more than half of the "
        "base videos' standard deviation."
    )
    for task in _per_task(material):
        yield f"### {_heading(task)}"
        yield guard_table(material.groups, "methods", task)
        yield break_table(material.groups, "methods", task)
    if select(material.groups, "anchors", task=ANCHOR_TASK):
        yield f"### Anchors and early stop: reward gradients at {TASKS[ANCHOR_TASK].title}"
        yield guard_table(material.groups, "anchors", ANCHOR_TASK)
        yield break_table(material.groups, "anchors", ANCHOR_TASK)
    yield from _note(material, "honesty")


def _sites(material: Material) -> Iterator[str]:
    yield "## Where to put the gradient"
    yield (
        "Reward gradients alone, with one setting changed. Common seconds and queries are those of the variant "
        "that used least; motion, diversity and text match are at the end, as parts of the base model's."
    )
    for base_model in ("tiny-wan", "tiny-unet"):
        for task in SITE_TASKS:
            if select(material.groups, "sites", task=task, base_model=base_model):
                yield f"### {base_model}, {TASKS[task].title}"
                yield site_table(material.groups, task, base_model)
    if material.cosines:
        yield "### Cosine to the full gradient"
        one = material.cosines[0]
        yield (
            f"Gradients over the same {one.batches} batches of {one.videos} videos: the cosine to the gradient "
            "through all steps, mean, lowest and highest batch; that of the sum over all batches; and the sum's "
            "norm as a part of the full one's. A random variant draws its steps anew for every batch."
        )
        yield cosine_table(material.cosines)
    yield from _note(material, "sites")


def _longer(material: Material) -> Iterator[str]:
    yield "## Longer videos than trained on"
    yield "Held-out prompts, about twice the frames; there is no tiny image-to-video base model."
    for task in _per_task(material):
        yield f"### {_heading(task)}"
        yield difference_table(material.groups, task, SETS[1:2] + SETS[3:])
    yield from _note(material, "longer")


def _judge(material: Material) -> Iterator[str]:
    yield "## Before the independent judge"
    yield (
        "The parts of videos in which the tiny world's judge, which no reward is made from, sees the colour, "
        "shape and direction that the prompt asks for; base → adapter, over all seeds."
    )
    for task in _per_task(material):
        yield f"### {_heading(task)}"
        yield judge_table(material.groups, task, SETS)
    yield "### By learning rate"
    yield (
        f"The trials that chose the learning rates ({TUNING_QUERIES} queries, `{TUNING_TASK}`), on all of these sets "
        "together: the trained reward beside what the judge sees."
    )
    yield trials_table(material.groups, TUNING_TASK)
    yield from _note(material, "judge")


def _limits(material: Material) -> Iterator[str]:
    yield "## What this does not show"
    yield from _note(material, "limits")


_SECTIONS = (
    *(_made, _headline, _methods, _elsewhere, _honesty),
    *(_sites, _longer, _judge, _limits, _missing),
)
