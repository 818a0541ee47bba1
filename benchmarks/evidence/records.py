"""What one training showed: its held-out reward and guards along the way, with what it had used by then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from vader_core.lines import (
    AnyLine,
    EvaluationDone,
    GuardResult,
    RewardDifference,
    Step,
    Verdict,
)


class Used(BaseModel):
    """What training had used after `step` steps; evaluation is not counted.

    `denoiser_forwards` are forward-equivalents: a backward pass counts as two more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int = 0
    reward_queries: int = 0
    denoiser_forwards: int = 0
    seconds: float = 0.0


class Point(BaseModel):
    """One evaluation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    used: Used
    heldout_reward: float
    difference: RewardDifference | None
    verdict: Verdict | None
    guards: list[GuardResult]


class Record(BaseModel):
    """A training that is over. `stop_reason` is None and `error` says why where it failed.

    `wall_seconds` are those of its process, loading and evaluations included; `core_share` is the part of them
    for which it had a processor, 1 where that is not known: on a busy machine it waits for the rest.
    """

    model_config = ConfigDict(extra="forbid")

    stop_reason: str | None
    error: str | None
    wall_seconds: float
    core_share: float = 1.0
    points: list[Point]

    @property
    def start(self) -> Point:
        """The base model."""
        return self.points[0]

    @property
    def final(self) -> Point:
        return self.points[-1]


FILE = "record.json"


def read(run: Path) -> Record | None:
    """The record in a run's folder, None while there is none."""
    file = run / FILE
    if not file.exists():
        return None
    return Record.model_validate_json(file.read_text(encoding="utf-8"))


def write(run: Path, record: Record) -> None:
    part = run / f"{FILE}.part"
    part.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    part.replace(run / FILE)


def points(lines: Iterable[AnyLine]) -> list[Point]:
    """The evaluations among a run's lines, by step. Of a step that was taken twice the last line counts.

    A run that went back to an earlier adapter ends with two at one step: what made it stop, and what it kept.
    """
    steps: dict[int, Step] = {}
    evaluations: dict[tuple[int, bool], EvaluationDone] = {}
    for line in lines:
        if isinstance(line, Step):
            steps[line.step] = line
        elif isinstance(line, EvaluationDone):
            evaluations[line.step, line.kind == "final"] = line
    used = used_by_step(steps[number] for number in sorted(steps))
    return [
        Point(
            used=used[line.step],
            heldout_reward=line.heldout_reward,
            difference=line.difference,
            verdict=line.verdict,
            guards=line.guards,
        )
        for _, line in sorted(evaluations.items())
    ]


def used_by_step(steps: Iterable[Step]) -> dict[int, Used]:
    """What had been used after each step, step 0 included."""
    used = {0: Used()}
    seconds = 0.0
    for line in steps:
        seconds += line.seconds
        used[line.step] = Used(
            step=line.step,
            reward_queries=line.reward_queries,
            denoiser_forwards=line.denoiser_forwards,
            seconds=seconds,
        )
    return used
