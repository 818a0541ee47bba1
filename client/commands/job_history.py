"""`vader jobs`: what a job has left behind so far, and jobs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.commands.jobs import JobId, jobs_app
from client.errors import NothingYet
from client.models import Answer
from client.show.comparison import show_comparison
from client.show.history import (
    show_attempts,
    show_checkpoints,
    show_evaluations,
    show_events,
    show_metrics,
    show_samples,
)

Follow = Annotated[bool, typer.Option("--follow", "-F", help="Go on as it happens, to the end.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="Only these: job.started; may be repeated.")
]


@command(jobs_app, "events")
def events(
    session: Session,
    job_id: JobId,
    *,
    after: Annotated[int, typer.Option(min=0, help="Only a number above this.")] = 0,
    kinds: Types = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    follow: Follow = False,
) -> None:
    """Show what happened to a job."""
    if not follow:
        page = session.client.event_page(job_id, after=after, types=kinds or (), limit=limit)
        session.show_all(page.data, show_events)
        return
    for event in session.client.events(job_id, after=after, types=kinds or ()):
        session.show(event, lambda console, one: show_events(console, [one]))


@command(jobs_app, "logs")
def logs(
    session: Session,
    job_id: JobId,
    *,
    attempt: Annotated[int | None, typer.Option(min=1, help="The latest if left out.")] = None,
    tail: Annotated[int | None, typer.Option(min=1, help="Only the last so many lines.")] = None,
    follow: Follow = False,
) -> None:
    """Show what a job's trainer wrote."""
    if not follow:
        text = session.client.logs(job_id, attempt=attempt, tail=tail)
        session.show(Answer.model_validate({"job_id": job_id, "text": text}), lambda *_: _raw(text))
        return
    for part in session.client.follow_logs(job_id, attempt=attempt):
        session.show(part, lambda _, one: _raw(one.text))


@command(jobs_app, "metrics")
def metrics(
    session: Session,
    job_id: JobId,
    *,
    key: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    x: Annotated[str, typer.Option(help="step, reward_queries, gpu_seconds or wall_s")] = "step",
    max_points: Annotated[int | None, typer.Option(help="At most so many a curve.")] = None,
) -> None:
    """Show a job's curves: where each begins, ends and is highest."""
    found = session.client.metrics(job_id, keys=key or (), x=x, max_points=max_points)
    session.show(found, show_metrics)


@command(jobs_app, "evaluation")
def evaluation(session: Session, job_id: JobId) -> None:
    """Show a job's evaluations on held-out prompts."""
    session.show(session.client.evaluation(job_id), show_evaluations)


@command(jobs_app, "attempts")
def attempts(session: Session, job_id: JobId) -> None:
    """Show the tries of workers at a job."""
    session.show_all(session.client.attempts(job_id), show_attempts)


@command(jobs_app, "checkpoints")
def checkpoints(
    session: Session, job_id: JobId, *, limit: Limit = 20, everything: Everything = False
) -> None:
    """List a job's stored states, newest first."""
    listing = session.client.checkpoints(job_id)
    session.show_list(listing, show_checkpoints, limit=limit, everything=everything)


@command(jobs_app, "samples")
def samples(
    session: Session,
    job_id: JobId,
    *,
    step: Annotated[int | None, typer.Option(min=0, help="Only those of this step.")] = None,
    to: Annotated[
        Path | None, typer.Option(file_okay=False, help="Download the videos into this folder.")
    ] = None,
) -> None:
    """List a job's videos of held-out prompts, and download them with --to."""
    found = session.client.samples(job_id, step=step)
    for sample in found if to is not None else ():
        assert to is not None
        name = f"{sample.pair}-{sample.role}-step{sample.step}.mp4"
        session.client.download_sample(sample, to=to / name)
    session.show_all(found, show_samples)


@command(jobs_app, "sheet")
def sheet(
    session: Session,
    job_id: JobId,
    *,
    to: Annotated[Path, typer.Option(dir_okay=False, help="The PNG to write.")],
) -> None:
    """Download a job's contact sheet: base row over adapter row."""
    found = session.client.job(job_id).sheet
    if found is None:
        raise NothingYet(f"Job {job_id} has no contact sheet yet.")
    session.client.download_sheet(job_id, found, to=to)
    session.done(str(to), file=str(to))


@command(jobs_app, "compare")
def compare(
    session: Session,
    job_ids: Annotated[list[str], typer.Argument(metavar="JOB JOB...")],
    *,
    key: Annotated[str | None, typer.Option(help="The metric; the held-out reward.")] = None,
    x: Annotated[
        str | None, typer.Option(help="What to hold equal: reward_queries, gpu_seconds, ...")
    ] = None,
) -> None:
    """Compare jobs at equal cost."""
    session.show(session.client.compare_jobs(job_ids, key=key, x=x), show_comparison)


def _raw(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
