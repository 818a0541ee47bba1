"""`vader jobs`: what can be done to a job, and jobs that go on from another one."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import JsonValue

from client.answers import given
from client.assignments import AMOUNT, money, pairs, placed
from client.command import Session, command
from client.commands.jobs import JobId, Set, jobs_app
from client.show.adapters import show_adapter
from client.show.jobs import show_batch, show_job

KeepAdapter = Annotated[bool, typer.Option(help="Keep the adapter of the last step.")]


@command(jobs_app, "patch")
def patch(  # noqa: PLR0913 (the command's options)
    session: Session,
    job_id: JobId,
    *,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="NAME= takes a label away.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1)] = None,
    max_reward_queries: Annotated[int | None, typer.Option(min=1)] = None,
    max_gpu_seconds: Annotated[float | None, typer.Option(min=0)] = None,
    max_wall_clock_s: Annotated[float | None, typer.Option(min=0)] = None,
    max_cost: Annotated[str | None, typer.Option(metavar=AMOUNT)] = None,
    max_queue_s: Annotated[float | None, typer.Option(min=0)] = None,
    deadline_at: Annotated[str | None, typer.Option(help="2026-11-24T06:00:00Z")] = None,
    on_exhausted: Annotated[str | None, typer.Option(help="finish or pause")] = None,
) -> None:
    """Change a job's name, labels, priority or ceilings, also while it runs."""
    labels = {key: text or None for key, text in pairs(label, option="--label").items()}
    budget: dict[str, JsonValue] = {
        "max_steps": max_steps,
        "max_reward_queries": max_reward_queries,
        "max_gpu_seconds": max_gpu_seconds,
        "max_wall_clock_s": max_wall_clock_s,
        "max_cost": money(max_cost),
        "max_queue_s": max_queue_s,
        "deadline_at": deadline_at,
        "on_exhausted": on_exhausted,
    }
    changed = session.client.update_job(
        job_id,
        name=name,
        labels=labels or None,
        priority=priority,
        budget=given(budget) or None,
    )
    session.show(changed, show_job)


@command(jobs_app, "cancel")
def cancel(session: Session, job_id: JobId, *, keep_adapter: KeepAdapter = True) -> None:
    """Cancel a job."""
    session.show(session.client.cancel_job(job_id, keep_adapter=keep_adapter), show_job)


@command(jobs_app, "pause")
def pause(session: Session, job_id: JobId) -> None:
    """Pause a job: its state is stored and its GPU given back."""
    session.show(session.client.pause_job(job_id), show_job)


@command(jobs_app, "resume")
def resume(session: Session, job_id: JobId) -> None:
    """Let a paused job go on. One that paused at a ceiling needs that raised by `patch` first."""
    session.show(session.client.resume_job(job_id), show_job)


@command(jobs_app, "retry")
def retry(
    session: Session,
    job_id: JobId,
    *,
    deadline_at: Annotated[
        str | None,
        typer.Option(help="Another deadline, where the old one has passed: 2026-11-24T06:00:00Z"),
    ] = None,
    no_deadline: Annotated[bool, typer.Option("--no-deadline", help="Without one.")] = False,
) -> None:
    """Create a new job that goes on from the newest checkpoint of a failed one."""
    if no_deadline and deadline_at is not None:
        raise typer.BadParameter("give --deadline-at or --no-deadline")
    made = session.client.retry_job(job_id, deadline_at=deadline_at, without_deadline=no_deadline)
    session.show(made, show_job)


@command(jobs_app, "extend")
def extend(  # noqa: PLR0913 (the command's options)
    session: Session,
    job_id: JobId,
    *,
    start: Annotated[
        str, typer.Option("--from", help="best, last, or a checkpoint's id.")
    ] = "best",
    state: Annotated[
        str, typer.Option(help="full (with optimiser and counters) or weights.")
    ] = "full",
    add_steps: Annotated[int | None, typer.Option(min=1, help="Beyond what was used.")] = None,
    add_reward_queries: Annotated[int | None, typer.Option(min=1)] = None,
    add_gpu_seconds: Annotated[float | None, typer.Option(min=0)] = None,
    add_wall_clock_s: Annotated[float | None, typer.Option(min=0)] = None,
    add_cost: Annotated[str | None, typer.Option(metavar=AMOUNT)] = None,
    changes: Set = None,
    name: Annotated[str | None, typer.Option(help="The new job's name.")] = None,
) -> None:
    """Create a new job that goes on from one that has ended."""
    add: dict[str, JsonValue] = {
        "max_steps": add_steps,
        "max_reward_queries": add_reward_queries,
        "max_gpu_seconds": add_gpu_seconds,
        "max_wall_clock_s": add_wall_clock_s,
        "max_cost": money(add_cost),
    }
    made = session.client.extend_job(
        job_id,
        start=start,
        state=state,
        add_budget=given(add) or None,
        overrides=placed({}, changes, option="--set") or None,
        name=name,
    )
    session.show(made, show_job)


@command(jobs_app, "delete")
def delete(session: Session, job_id: JobId) -> None:
    """Delete what an ended job has made; the job itself can still be looked at."""
    session.show(session.client.delete_job(job_id), show_job)


@command(jobs_app, "promote")
def promote(
    session: Session,
    job_id: JobId,
    checkpoint_id: Annotated[str, typer.Argument(metavar="CHECKPOINT")],
) -> None:
    """Make a checkpoint's weights an adapter of their own."""
    session.show(session.client.promote(job_id, checkpoint_id), show_adapter)


@command(jobs_app, "batch-cancel")
def batch_cancel(  # noqa: PLR0913 (the command's options)
    session: Session,
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="JOB...")] = None,
    *,
    expect: Annotated[
        int, typer.Option(min=0, help="How many there are; for another number none is cancelled.")
    ],
    status: Annotated[list[str] | None, typer.Option(help="Those in one of these.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=TEXT")] = None,
    text: Annotated[str | None, typer.Option("--search", help="A part of the name.")] = None,
    keep_adapter: KeepAdapter = True,
) -> None:
    """Cancel several jobs: those named, or all that the options match."""
    labels = pairs(label, option="--label")
    matching = given({"status": status, "labels": labels or None, "q": text})
    if bool(job_ids) == bool(matching):
        raise typer.BadParameter("name jobs, or give --status, --label or --search")
    cancelled = session.client.cancel_jobs(
        expected_count=expect,
        ids=job_ids or None,
        matching=matching or None,
        keep_adapter=keep_adapter,
    )
    session.show(cancelled, show_batch)
