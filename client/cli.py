"""The `vader` command. `client.command` says what its exit status means."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client.api import VaderClient
from client.catalogue_commands import base_models_app, methods_app, rewards_app
from client.command import (
    DEFAULT_DATA_DIR,
    EXIT_ERROR,
    EXIT_FAILED,
    ApiKey,
    AsJson,
    DataDir,
    Url,
    connected,
    print_json,
    reporting,
)
from client.job_file import read_job, uploaded
from client.models import Job
from client.progress import JsonDisplay, display_for, watch
from client.render import show_job, show_jobs
from client.stack.services import Options
from client.up import up
from client.upload_commands import uploads_app

EXIT_BY_STATUS = {"succeeded": 0, "failed": EXIT_FAILED, "cancelled": 3}

app = typer.Typer(help="Aligns video diffusion models with rewards.", no_args_is_help=True)
jobs_app = typer.Typer(help="Create, look at and cancel jobs.", no_args_is_help=True)
adapters_app = typer.Typer(help="Fetch what jobs have yielded.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(adapters_app, name="adapters")
app.add_typer(base_models_app, name="base-models")
app.add_typer(rewards_app, name="rewards")
app.add_typer(methods_app, name="methods")
app.add_typer(uploads_app, name="uploads")

JobId = Annotated[str, typer.Argument(metavar="JOB")]


@app.command("up")
def up_command(
    *,
    data_dir: Annotated[
        Path, typer.Option(envvar="VADER_DATA_DIR", help="Where all data lies.")
    ] = DEFAULT_DATA_DIR,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The API's port; 8000, or a free one, if left out."),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            envvar="VADER_CATALOGUE_FILE",
            exists=True,
            dir_okay=False,
            help="JSON file with more base models and rewards.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            envvar="VADER_WEIGHTS_DIR", file_okay=False, help="Folder of fetched weights."
        ),
    ] = None,
    trainer_threads: Annotated[
        int | None,
        typer.Option(
            min=1, envvar="VADER_TRAINER_THREADS", help="Threads of a trainer; all if left out."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line once ready: url, api_key, data_dir.")
    ] = False,
) -> None:
    """Run the whole service on this machine until Ctrl-C, all data in one folder."""
    with reporting(as_json=as_json):
        options = Options(
            port=port, catalogue=catalogue, weights=weights, trainer_threads=trainer_threads
        )
        up(data_dir=data_dir, options=options, as_json=as_json)


@jobs_app.command("create")
def create(
    *,
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML or JSON job; - for stdin.")],
    follow: Annotated[bool, typer.Option("--watch", help="Show the job until it ends.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Create a job from a file."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        folder = Path() if str(file) == "-" else file.parent
        spec = uploaded(read_job(file), folder=folder, upload=lambda path: client.upload(path).id)
        job = client.create_job(spec)
        _print_job(job, as_json=as_json)
        if follow:
            _watch(client, job, as_json=as_json)


@jobs_app.command("get")
def get(
    job_id: JobId,
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a job."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        _print_job(client.job(job_id), as_json=as_json)


@jobs_app.command("list")
def list_jobs(  # noqa: PLR0913 (the command's options)
    *,
    status: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this training method.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        page = client.jobs(status=status or (), method=method, limit=limit)
        if as_json:
            print_json(page)
        else:
            show_jobs(Console(), page.data)


@jobs_app.command("cancel")
def cancel(
    job_id: JobId,
    *,
    keep_adapter: Annotated[bool, typer.Option(help="Keep the adapter of the last step.")] = True,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Cancel a job."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        _print_job(client.cancel_job(job_id, keep_adapter=keep_adapter), as_json=as_json)


@jobs_app.command("watch")
def watch_command(
    job_id: JobId,
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a job until it ends; the exit status tells how. With --json: its events, then the job."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        _watch(client, client.job(job_id), as_json=as_json)


@adapters_app.command("download")
def download(
    adapter_or_job: Annotated[str, typer.Argument(metavar="ADAPTER_OR_JOB")],
    *,
    to: Annotated[Path, typer.Option(file_okay=False, help="Folder to put the files in.")],
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Download an adapter's files, each checked by its sha256."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        paths = [str(path) for path in client.download_adapter(adapter_or_job, to=to)]
        sys.stdout.write(json.dumps({"files": paths}) if as_json else "\n".join(paths))
        sys.stdout.write("\n")


def _watch(client: VaderClient, job: Job, *, as_json: bool) -> None:
    display = JsonDisplay(sys.stdout) if as_json else display_for(Console())
    ended = watch(client, job, display)
    _print_job(ended, as_json=as_json)
    raise typer.Exit(EXIT_BY_STATUS.get(ended.status, EXIT_ERROR))


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        show_job(Console(), job)


def main() -> None:
    """The entry point of the `vader` command."""
    app(prog_name="vader")
