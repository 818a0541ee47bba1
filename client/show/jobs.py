"""Jobs as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console

from client.models import BatchCancelled, Budget, Job, Pause, Progress, QueuePlace, StartsFrom
from client.show.evaluations import evaluation_lines
from client.show.tables import (
    age,
    aligned,
    duration,
    labelled,
    moment,
    number,
    show_lines,
    show_table,
)

Fact = TypeVar("Fact")
_VERDICTS = {"no_clear_difference": "unclear"}


def show_jobs(console: Console, jobs: Sequence[Job]) -> None:
    """A table of jobs."""
    rows: list[Sequence[str]] = []
    for job in jobs:
        progress = job.progress
        step = f"{progress.step}/{progress.steps_total}" if progress else ""
        verdict = (job.evaluation and job.evaluation.verdict) or ""
        shown = _VERDICTS.get(verdict, verdict)
        rows.append((job.id, job.name, job.status, step, shown, age(job.created_at)))
    show_table(console, ("job", "name", "status", "step", "verdict", "age"), rows)


def show_job(console: Console, job: Job) -> None:
    """One job in some lines."""
    evaluation = [] if job.evaluation is None else evaluation_lines(job.evaluation)
    lines = [
        f"{job.id}  {job.name}".rstrip(),
        *_facts(_state(job)),
        *labelled("budget", *_budget(job.budget)),
        *evaluation,
        *_facts(_outcome(job)),
    ]
    show_lines(console, lines)


def _facts(facts: dict[str, str | None]) -> list[str]:
    """A line for each fact that there is."""
    return [line for label, fact in facts.items() if fact for line in labelled(label, fact)]


def _told(value: Fact | None, how: Callable[[Fact], str]) -> str | None:
    return None if value is None else how(value)


def _state(job: Job) -> dict[str, str | None]:
    return {
        "status": _status(job),
        "deleted": _told(job.deleted_at, moment),
        "queue": _told(job.queue, place_text),
        "pause": _told(job.pause, _pause),
        "parent": job.parent_job_id and f"{job.parent_kind or 'made'} of {job.parent_job_id}",
        "starts from": _told(job.starts_from, _start),
        "template": job.template,
        "method": job.method,
        "base model": job.base_model,
        "service": job.code_version,
        "rewards": ", ".join(job.rewards),
        "step": _told(job.progress, _progress),
    }


def _outcome(job: Job) -> dict[str, str | None]:
    return {
        "checkpoint": _told(
            job.best_checkpoint, lambda best: f"{best.id}, step {best.step}: the best"
        ),
        "adapter": _told(job.adapter, lambda adapter: adapter.id),
        "labels": ", ".join(f"{name}={text}" for name, text in job.labels.items()),
        "error": _told(job.error, lambda error: f"{error.code}: {error.message}"),
        "hint": _told(job.error, lambda error: error.hint or ""),
        "possible": ", ".join(job.allowed_actions),
    }


def show_batch(console: Console, batch: BatchCancelled) -> None:
    """The jobs that were asked to end."""
    rows = [(one.id, one.status) for one in batch.jobs]
    show_table(console, ("job", "status"), rows)


def _status(job: Job) -> str:
    text = job.status if job.phase in {None, job.status} else f"{job.status} ({job.phase})"
    if job.attempt is not None and not job.terminal and job.attempt.number > 1:
        text += f", attempt {job.attempt.number}"
    return f"{text}, because of {job.stop_reason}" if job.stop_reason else text


def _pause(pause: Pause) -> str:
    why = {"requested": "asked for", "budget_raised": "its budget was raised"}
    text = why.get(pause.reason, f"the ceiling of {pause.reason.replace('_', ' ')} is reached")
    return f"{text}; ended at {moment(pause.expires_at)}" if pause.expires_at else text


def _start(start: StartsFrom) -> str:
    return f"{start.kind} {start.id}, step {start.step}, {start.state} state"


def place_text(place: QueuePlace) -> str:
    """Where something waits, why, and until when."""
    parts = [] if place.position is None else [f"place {place.position}"]
    parts += [place.reason.replace("_", " ")] if place.reason else []
    parts += [f"starts about {moment(place.eta_at)}"] if place.eta_at else []
    parts += [f"given up at {moment(place.expires_at)}"] if place.expires_at else []
    return ", ".join(parts)


def _progress(progress: Progress) -> str:
    text = f"{progress.step} of {progress.steps_total}"
    if progress.seconds_per_step is not None:
        text += f", {progress.seconds_per_step:.3g} s each"
    return f"{text}, done about {moment(progress.eta_at)}" if progress.eta_at else text


def _budget(budget: Budget) -> list[str]:
    """A line for every ceiling there is; the one that comes first is marked."""
    timed = {"gpu_seconds", "wall_clock_s"}
    rows: list[tuple[str, str, str, str]] = []
    for name in ("steps", "reward_queries", "gpu_seconds", "wall_clock_s"):
        ceiling = getattr(budget, name)
        if ceiling.limit is not None:
            told = duration if name in timed else number
            used = f"{told(ceiling.used)} of {told(ceiling.limit)}"
            rows.append((f"max_{name}", used, _percent(ceiling.fraction), ""))
    if budget.cost.limit is not None:
        cost = budget.cost
        used = f"{cost.used} of {cost.limit} {cost.currency}"
        rows.append(("max_cost", used, _percent(cost.fraction), ""))
    if budget.deadline_at is not None:
        rows.append(("deadline_at", moment(budget.deadline_at), "", ""))
    if not rows:
        return ["without ceilings"]
    marked = [(*row[:3], "ends it first" if row[0] == budget.next_ceiling else "") for row in rows]
    return [
        *aligned(marked),
        *(["at a ceiling it pauses"] if budget.on_exhausted == "pause" else []),
    ]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.0f} %"
