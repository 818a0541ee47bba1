"""Finished adapters on other prompts, on longer videos, and before the judge that nothing was trained on.

Base and adapter make every video from the same noise, by seeds that training's own evaluations do not use.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, JsonValue

from benchmarks.evidence import pictures
from benchmarks.evidence.cells import Cell
from benchmarks.evidence.running import Runs
from benchmarks.evidence.tasks import TASKS, Task
from vader_core import adapter as adapters
from vader_core import base_models, devices
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel as VideoModel
from vader_core.catalogue import BUILT_IN
from vader_core.evaluation import Evaluator, Pair
from vader_core.lines import GuardResult, RewardDifference
from vader_core.objective import Objective, load_objective
from vader_core.prompts import prompt_id
from vader_core.resolve import check
from vader_core.spec import JobSpec, Prompt
from vader_core.state import PairScores
from vader_core.tiny.folders import WEIGHTS_ROOT
from vader_core.tiny.judge import Judge
from vader_core.tiny.sampling import Accuracy, judge_videos

FILE = "generalising.json"
FIRST_SEED = 21
# A set's prompts are taken under as many seeds as make this many videos.
VIDEOS = 16
LONGER_FRAMES = 17
# Held-out prompts: those whose videos are shown.
SHOWN_SET = "unseen combinations"


class Judged(BaseModel):
    """The parts of videos in which the judge sees the colour, shape and direction that were asked for."""

    model_config = ConfigDict(extra="forbid")

    colour: float
    shape: float
    direction: float

    @classmethod
    def of(cls, accuracy: Accuracy) -> Judged:
        return cls(colour=accuracy.colour, shape=accuracy.shape, direction=accuracy.direction)


class Found(BaseModel):
    """Base against adapter on one set of prompts."""

    model_config = ConfigDict(extra="forbid")

    videos: int
    difference: RewardDifference
    guards: list[GuardResult]
    judged_base: Judged
    judged_adapter: Judged


class Generalisation(BaseModel):
    """By the name of the set; the names are those of `sets`."""

    model_config = ConfigDict(extra="forbid")

    sets: dict[str, Found]


@dataclass(frozen=True)
class PromptSet:
    """Prompts and the number of frames of their videos; None for the base model's own."""

    name: str
    prompts: tuple[Prompt, ...]
    num_frames: int | None = None

    @property
    def seeds(self) -> list[int]:
        return list(range(FIRST_SEED, FIRST_SEED + max(2, -(-VIDEOS // len(self.prompts)))))


def sets(task: Task) -> tuple[PromptSet, ...]:
    """What the adapters are tried on."""
    return (
        PromptSet("seen prompts", task.training[:8]),
        PromptSet(SHOWN_SET, task.heldout),
        PromptSet("unseen word", task.unseen_words),
        PromptSet("longer videos", task.heldout, num_frames=LONGER_FRAMES),
    )


@dataclass(frozen=True)
class Scored:
    """Scores of a set's videos, what the judge sees in them, and some of the videos themselves."""

    scores: PairScores
    judged: Judged
    shown: list[torch.Tensor]


class Examiner:
    """One base model with room for an adapter; scores of the base's own videos are made once a set."""

    def __init__(self, base_model: str, *, threads: int) -> None:
        torch.set_num_threads(threads)
        devices.make_deterministic()
        self._compute = devices.pick("auto", "fp32")
        self._base: VideoModel = base_models.load(BUILT_IN.base_models[base_model], self._compute)
        self._adapter: LoraAdapter | None = None
        self._judge = Judge.from_pretrained(WEIGHTS_ROOT / "tiny-judge")
        self._objectives: dict[str, Objective] = {}
        self._of_base: dict[tuple[str, str], Scored] = {}

    def examine(self, cell: Cell, run: Path) -> Generalisation:
        """Tries the adapter of a training in the folder `run` on all sets of the cell's task, and shows
        what it makes of held-out prompts."""
        spec = _resolved(cell.spec)
        if self._adapter is None:
            self._adapter = adapters.attach(self._base, spec.adapter, seed=0)
        adapters.restore(self._adapter, run / "adapter")
        chosen = sets(TASKS[cell.task])
        return Generalisation(
            sets={one.name: self._compare(cell.task, spec, one, run) for one in chosen}
        )

    def _compare(self, task: str, spec: JobSpec, one: PromptSet, run: Path) -> Found:
        assert self._adapter is not None
        evaluator = Evaluator(self._base, self._objective(task, spec), _on(spec, one))
        if (task, one.name) not in self._of_base:
            with self._adapter.disabled():
                self._of_base[task, one.name] = self._score(evaluator)
        before, after = self._of_base[task, one.name], self._score(evaluator)
        found = evaluator.compare(before.scores, after.scores)
        if one.name == SHOWN_SET:
            pictures.write_strip(run / pictures.BASE_STRIP, before.shown)
            pictures.write_strip(run / pictures.ADAPTER_STRIP, after.shown)
        return Found(
            videos=len(evaluator.pairs),
            difference=found.difference,
            guards=found.guards,
            judged_base=before.judged,
            judged_adapter=after.judged,
        )

    def _objective(self, task: str, spec: JobSpec) -> Objective:
        if task not in self._objectives:
            self._objectives[task] = load_objective(spec, BUILT_IN, self._compute)
        return self._objectives[task]

    def _score(self, evaluator: Evaluator) -> Scored:
        prompts: list[str] = []
        videos: list[torch.Tensor] = []

        def keep(pair: Pair, frames: torch.Tensor, _score: float) -> None:
            prompts.append(pair.prompt.prompt)
            videos.append(frames.float().cpu())

        scores = evaluator.score(keep=keep, between_batches=lambda: None)
        accuracy = judge_videos(self._judge, torch.stack(videos), prompts)
        # One video of each of the first prompts.
        shown = videos[:: len(videos) // len(set(prompts))][: pictures.SHOWN_VIDEOS]
        return Scored(scores, Judged.of(accuracy), shown)


def _resolved(document: dict[str, JsonValue]) -> JobSpec:
    return check(document, BUILT_IN, lambda _prompt_set: None)


def _on(spec: JobSpec, one: PromptSet) -> JobSpec:
    """The spec with the set's prompts held out, and its seeds and length."""
    heldout = [prompt.model_copy(update={"heldout": True}) for prompt in one.prompts]
    video = spec.video
    if one.num_frames is not None:
        video = video.model_copy(update={"num_frames": one.num_frames})
    evaluation = spec.evaluation.model_copy(
        update={"num_prompts": len(heldout), "seeds": one.seeds}
    )
    prompts = spec.prompts.model_copy(update={"inline": heldout})
    return spec.model_copy(update={"prompts": prompts, "video": video, "evaluation": evaluation})


def missing(cells: Iterable[Cell], runs: Runs) -> list[Cell]:
    """Cells whose adapter is there and was not tried yet."""
    return [
        cell
        for cell in cells
        if (runs.of(cell) / "adapter").is_dir() and not (runs.of(cell) / FILE).exists()
    ]


def examine_all(cells: Sequence[Cell], runs: Runs, *, threads: int, until: float) -> Iterator[Cell]:
    """Tries every adapter that was not tried yet; yields each cell once its file is written.

    None is begun after `until` (of `time.monotonic`).
    """
    examiners: dict[str, Examiner] = {}
    for cell in missing(cells, runs):
        if time.monotonic() > until:
            return
        if cell.base_model not in examiners:
            examiners[cell.base_model] = Examiner(cell.base_model, threads=threads)
        run = runs.of(cell)
        found = examiners[cell.base_model].examine(cell, run)
        (run / FILE).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        yield cell


def shown_prompts(task: Task) -> list[str]:
    """The prompts of the videos that are shown, in their order."""
    prompts = sorted(task.heldout, key=prompt_id)
    return [prompt.prompt for prompt in prompts[: pictures.SHOWN_VIDEOS]]


def read(run: Path) -> Generalisation | None:
    file = run / FILE
    if not file.exists():
        return None
    return Generalisation.model_validate_json(file.read_text(encoding="utf-8"))


def mean_judged(judged: Sequence[Judged]) -> Judged:
    """The mean over seeds."""
    return Judged(
        colour=statistics.fmean(one.colour for one in judged),
        shape=statistics.fmean(one.shape for one in judged),
        direction=statistics.fmean(one.direction for one in judged),
    )
