"""The `vader` command.

Exit status: 0 done (for `watch`: the job succeeded), 1 the job failed, 2 wrong usage, 3 the job was
cancelled, 4 the service refused the request, 5 anything else that went wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console

from client.api import VaderClient
from client.credentials import connect
from client.errors import RequestRefused, VaderError
from client.job_file import read_job
from client.models import Job
from client.progress import JsonDisplay, display_for, watch
from client.render import show_error, show_job, show_jobs
from client.stack.services import Options
from client.up import up

EXIT_BY_STATUS = {"succeeded": 0, "failed": 1, "cancelled": 3}
EXIT_REFUSED, EXIT_ERROR, EXIT_INTERRUPTED = 4, 5, 130
DEFAULT_DATA_DIR = Path("vader-data")

app = typer.Typer(help="Aligns video diffusion models with reward gradients.", no_args_is_help=True)
jobs_app = typer.Typer(help="Create, look at and cancel jobs.", no_args_is_help=True)
adapters_app = typer.Typer(help="Fetch what jobs have yielded.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(adapters_app, name="adapters")

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="VADER_DATA_DIR",
        help="Data folder of a `vader up`; its credentials.json gives URL and key.",
    ),
]
Url = Annotated[str | None, typer.Option(envvar="VADER_URL", help="Where the service is.")]
ApiKey = Annotated[str | None, typer.Option(envvar="VADER_API_KEY", help="An API key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
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
    with _reporting(as_json=as_json):
        options = Options(port=port, catalogue=catalogue, trainer_threads=trainer_threads)
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
    with _connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        job = client.create_job(read_job(file))
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
    with _connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        _print_job(client.job(job_id), as_json=as_json)


@jobs_app.command("list")
def list_jobs(
    *,
    status: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with _connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        page = client.jobs(status=status or (), limit=limit)
        if as_json:
            _print_json(page)
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
    with _connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
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
    with _connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
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
    with _connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
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
        _print_json(job)
    else:
        show_job(Console(), job)


def _print_json(answer: BaseModel) -> None:
    sys.stdout.write(json.dumps(answer.model_dump(mode="json")) + "\n")
    sys.stdout.flush()


@contextmanager
def _connected(
    *, url: str | None, api_key: str | None, data_dir: Path, as_json: bool
) -> Iterator[VaderClient]:
    with (
        _reporting(as_json=as_json),
        connect(url=url, api_key=api_key, data_dir=data_dir) as client,
    ):
        yield client


@contextmanager
def _reporting(*, as_json: bool) -> Iterator[None]:
    """Tells of an expected failure on stderr, with `as_json` as one JSON object, and exits."""
    try:
        yield
    except RequestRefused as error:
        _print_error(error, error.problem.model_dump(mode="json") if as_json else None)
        raise typer.Exit(EXIT_REFUSED) from error
    except VaderError as error:
        _print_error(error, {"detail": str(error)} if as_json else None)
        raise typer.Exit(EXIT_ERROR) from error
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. A job that was created goes on.\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_error(error: VaderError, document: dict[str, object] | None) -> None:
    if document is None:
        show_error(Console(stderr=True), error)
    else:
        sys.stderr.write(json.dumps(document) + "\n")


def main() -> None:
    """The entry point of the `vader` command."""
    app(prog_name="vader")
