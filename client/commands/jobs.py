"""`vader jobs`: planned, made, looked at, waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from client.assignments import AMOUNT, money, pairs, placed
from client.command import (
    EXIT_CANCELLED,
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_PAUSED,
    Everything,
    Limit,
    Session,
    command,
)
from client.job_file import read_job, uploaded
from client.models import DryRun, Job
from client.progress import show_until_ended
from client.show.jobs import show_job, show_jobs
from client.show.plans import show_plan

EXIT_BY_STATUS = {
    "succeeded": 0,
    "failed": EXIT_FAILED,
    "cancelled": EXIT_CANCELLED,
    "paused": EXIT_PAUSED,
}

jobs_app = typer.Typer(help="Create, look at and act on jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB")]
SpecFile = Annotated[
    Path | None, typer.Option("--file", "-f", help="YAML or JSON job; - for stdin.")
]
Template = Annotated[
    str | None, typer.Option(help="A template instead of a file: tpl_... or tpl_...@VERSION.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A field of the spec: budget.max_steps=50; repeated."
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="Show the job until it ends.")]


@command(jobs_app, "dry-run")
def dry_run(
    session: Session,
    *,
    file: SpecFile = None,
    template: Template = None,
    changes: Set = None,
) -> None:
    """Check a job and say what it would take. Nothing is created."""
    asked = _asked(session, file, template, changes)
    session.show(session.client.dry_run(asked), show_plan)


@command(jobs_app, "create")
def create(  # noqa: PLR0913 (the command's options)
    session: Session,
    *,
    file: SpecFile = None,
    template: Template = None,
    changes: Set = None,
    dry_run_first: Annotated[
        bool,
        typer.Option(
            "--dry-run-first",
            help="Show what it would take and ask; only the very job shown is created.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    expect_hash: Annotated[
        str | None, typer.Option(help="Create only the job of the dry run with this spec_hash.")
    ] = None,
    expect_max_cost: Annotated[
        str | None,
        typer.Option(
            metavar=AMOUNT,
            help="Create nothing whose estimated cost is above this: 12.50, or '12.50 EUR'.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key again gives the same job again.")
    ] = None,
    follow: Watch = False,
) -> None:
    """Create a job from a file or a template."""
    asked = _asked(session, file, template, changes)
    plan = session.client.dry_run(asked) if dry_run_first else None
    if plan is not None and not yes:
        _agree(session, plan)
    job = session.client.create_job(
        asked,
        expect=plan or expect_hash,
        max_cost=money(expect_max_cost),
        idempotency_key=idempotency_key,
    )
    session.show(job, show_job)
    if follow:
        _until_ended(session, job)


@command(jobs_app, "get")
def get(session: Session, job_id: JobId) -> None:
    """Show a job."""
    session.show(session.client.job(job_id), show_job)


@command(jobs_app, "list")
def list_jobs(  # noqa: PLR0913 (the command's options)
    session: Session,
    *,
    status: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    base_model: Annotated[str | None, typer.Option(help="id or id@version")] = None,
    method: Annotated[str | None, typer.Option(help="Only this training method.")] = None,
    reward: Annotated[str | None, typer.Option(help="id or id@version")] = None,
    template: Annotated[str | None, typer.Option(help="Made from it: tpl_... or tpl_...@2")] = None,
    parent: Annotated[str | None, typer.Option(help="Made from this job.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=TEXT")] = None,
    text: Annotated[str | None, typer.Option("--search", help="A part of the name.")] = None,
    limit: Limit = 20,
    everything: Everything = False,
) -> None:
    """List jobs, newest first."""
    listing = session.client.jobs(
        status=status or (),
        base_model=base_model,
        method=method,
        reward=reward,
        template=template,
        parent=parent,
        labels=pairs(label, option="--label"),
        text=text,
    )
    session.show_list(listing, show_jobs, limit=limit, everything=everything)


@command(jobs_app, "watch")
def watch(session: Session, job_id: JobId) -> None:
    """Show a job until it ends; the exit status tells how. With --json: its events, then the job."""
    _until_ended(session, session.client.job(job_id))


@command(jobs_app, "wait")
def wait(
    session: Session,
    job_id: JobId,
    *,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which to give up (status 124).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Wait for this: 0 then, never else.")
    ] = None,
    through_pauses: Annotated[
        bool, typer.Option("--through-pauses", help="Go on waiting while the job is paused.")
    ] = False,
) -> None:
    """Wait without a word until a job has ended, or is paused.

    The exit status tells how: 0 succeeded, 1 failed, 3 cancelled, 6 paused.
    """
    wanted = [until] if until else [] if through_pauses else ["paused"]
    job = session.client.wait(job_id, until=wanted, timeout_s=timeout)
    session.show(job, show_job)
    status = EXIT_BY_STATUS.get(job.status, EXIT_ERROR)
    if until:
        status = 0 if job.status == until else (status or EXIT_FAILED)
    raise typer.Exit(status)


def _asked(
    session: Session, file: Path | None, template: str | None, changes: list[str] | None
) -> dict[str, JsonValue]:
    """What to send: the file's spec with the changes in it, or the template with them as overrides."""
    if (file is None) == (template is None):
        raise typer.BadParameter("give one of --file and --template")
    if template is not None:
        return {"template": template, "overrides": placed({}, changes, option="--set")}
    assert file is not None
    folder = Path() if str(file) == "-" else file.parent
    document = placed(read_job(file), changes, option="--set")
    return uploaded(document, folder=folder, upload=lambda path: session.client.upload(path).id)


def _agree(session: Session, plan: DryRun) -> None:
    """Shows the plan, and ends the command unless whoever sits there agrees."""
    if session.as_json or not session.console.is_terminal:
        return
    show_plan(session.console, plan)
    typer.confirm("Create this job?", abort=True)


def _until_ended(session: Session, job: Job) -> None:
    ended = show_until_ended(session.client, job, console=session.console, as_json=session.as_json)
    session.show(ended, show_job)
    raise typer.Exit(EXIT_BY_STATUS.get(ended.status, EXIT_ERROR))
