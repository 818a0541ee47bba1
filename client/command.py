"""What all `vader` commands share: where the service is, how answers and failures are printed.

Exit status: 0 done (for `watch`: the job succeeded), 1 the job or scoring failed, 2 wrong usage, 3 the job
was cancelled, 4 the service refused the request, 5 anything else that went wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console

from client.api import VaderClient
from client.credentials import connect
from client.errors import RequestRefused, VaderError
from client.render import show_error

EXIT_FAILED, EXIT_REFUSED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 4, 5, 130
DEFAULT_DATA_DIR = Path("vader-data")

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


def print_json(answer: BaseModel) -> None:
    """One line."""
    sys.stdout.write(json.dumps(answer.model_dump(mode="json")) + "\n")
    sys.stdout.flush()


def print_json_list(answers: Sequence[BaseModel]) -> None:
    """One line with all of them."""
    sys.stdout.write(json.dumps([answer.model_dump(mode="json") for answer in answers]) + "\n")


@contextmanager
def connected(
    *, url: str | None, api_key: str | None, data_dir: Path, as_json: bool
) -> Iterator[VaderClient]:
    """A client, and `reporting` of whatever goes wrong with it."""
    with (
        reporting(as_json=as_json),
        connect(url=url, api_key=api_key, data_dir=data_dir) as client,
    ):
        yield client


@contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
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
        sys.stderr.write("Interrupted. What was asked for goes on.\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_error(error: VaderError, document: dict[str, object] | None) -> None:
    if document is None:
        show_error(Console(stderr=True), error)
    else:
        sys.stderr.write(json.dumps(document) + "\n")
