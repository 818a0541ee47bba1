"""What all `vader` commands share: how they reach the service, and how answers and failures are printed.

Exit status: 0 done (for `watch` and `wait`: the job succeeded), 1 the job, scoring or generation failed,
2 wrong usage, 3 the job was cancelled, 4 the service refused the request, 5 anything else that went wrong,
6 the job is paused and waits for somebody, 124 `wait --timeout` has passed, 130 Ctrl-C.

`--json` prints one JSON document to stdout, lists as an array, and JSON lines where things come one by one
(`watch`, `--follow`). Failures are told on stderr, with `--json` as one JSON object.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from client.credentials import API_KEY, DATA_DIR, DEFAULT_DATA_DIR, URL, connect
from client.errors import RequestRefused, VaderError, WaitedTooLong
from client.show.problems import show_error
from client.sync.api import VaderClient
from client.sync.calls import Listing

EXIT_FAILED, EXIT_CANCELLED, EXIT_REFUSED, EXIT_ERROR, EXIT_PAUSED = 1, 3, 4, 5, 6
EXIT_TIMED_OUT, EXIT_INTERRUPTED = 124, 130
_PANEL = "Service"

Parameters = ParamSpec("Parameters")
Model = TypeVar("Model", bound=BaseModel)

Url = Annotated[
    str | None,
    typer.Option(envvar=URL, help="Where the service is.", rich_help_panel=_PANEL),
]
ApiKey = Annotated[
    str | None, typer.Option(envvar=API_KEY, help="An API key.", rich_help_panel=_PANEL)
]
DataDir = Annotated[
    Path,
    typer.Option(
        envvar=DATA_DIR,
        help="Data folder of a `vader up`; its credentials.json gives URL and key.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_PANEL)]
Limit = Annotated[int, typer.Option(min=1, max=100, help="At most so many.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]


@dataclass(frozen=True)
class Session:
    """One run of a command: the client it talks through, and where its answers go."""

    client: VaderClient
    as_json: bool
    console: Console

    def show(self, answer: Model, render: Callable[[Console, Model], None]) -> None:
        """One answer: a JSON document, or as `render` shows it to a person."""
        if self.as_json:
            self.line(answer)
        else:
            render(self.console, answer)

    def show_all(
        self, answers: Sequence[Model], render: Callable[[Console, Sequence[Model]], None]
    ) -> None:
        """Several answers: one JSON array, or as `render` shows them to a person."""
        if self.as_json:
            _write(json.dumps([_document(answer) for answer in answers]))
        else:
            render(self.console, answers)

    def show_list(
        self,
        listing: Listing[Model],
        render: Callable[[Console, Sequence[Model]], None],
        *,
        limit: int,
        everything: bool,
    ) -> None:
        """The first `limit` of a list, or `everything`: as one JSON array, or to a person."""
        if everything:
            self.show_all(list(listing), render)
            return
        page = listing.page(limit=limit)
        self.show_all(page.data, render)
        if page.has_more and not self.as_json:
            self.say(f"The first {len(page.data)}; --limit up to 100, or --all, shows more.")

    def line(self, answer: BaseModel) -> None:
        """One line of JSON."""
        _write(json.dumps(_document(answer)))

    def done(self, what: str, **document: str) -> None:
        """That something without an answer is done."""
        if self.as_json:
            _write(json.dumps(document))
        else:
            self.say(what)

    def say(self, text: str) -> None:
        """Words for a person."""
        self.console.print(Text(text), soft_wrap=True, highlight=False)


def command(
    app: typer.Typer, name: str
) -> Callable[[Callable[Concatenate[Session, Parameters], None]], Callable[..., None]]:
    """Registers a function as the command `name`: it gets a `Session`, and its other parameters are the
    command's own; where the service is and `--json` are added to them."""

    def register(
        function: Callable[Concatenate[Session, Parameters], None],
    ) -> Callable[..., None]:
        @functools.wraps(function)
        def run(
            *,
            url: str | None,
            api_key: str | None,
            data_dir: Path,
            as_json: bool,
            **given: Any,
        ) -> None:
            with (
                reporting(as_json=as_json),
                connect(url=url, api_key=api_key, data_dir=data_dir) as client,
            ):
                session = Session(client, as_json, Console())
                function(session, **given)  # type: ignore[call-arg]

        _take_options(run, function)
        app.command(name)(run)
        return run

    return register


def _take_options(run: Callable[..., None], function: Callable[..., None]) -> None:
    """Makes the command's own parameters and the common ones the signature that typer reads."""
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    common = {
        "url": (Url, None),
        "api_key": (ApiKey, None),
        "data_dir": (DataDir, DEFAULT_DATA_DIR),
        "as_json": (AsJson, False),
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *(one.replace(kind=keyword, annotation=hints[one.name]) for one in own),
        *(
            inspect.Parameter(name, keyword, annotation=kind, default=default)
            for name, (kind, default) in common.items()
        ),
    ]
    # Functions may carry a signature of their own, which no type knows.
    vars(run).pop("__wrapped__")
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}


@contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
    """Tells of an expected failure on stderr, with `as_json` as one JSON object, and exits."""
    try:
        yield
    except RequestRefused as error:
        _print_error(error, _document(error.problem) if as_json else None)
        raise typer.Exit(EXIT_REFUSED) from error
    except VaderError as error:
        _print_error(error, {"detail": str(error)} if as_json else None)
        status = EXIT_TIMED_OUT if isinstance(error, WaitedTooLong) else EXIT_ERROR
        raise typer.Exit(status) from error
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. What was asked for goes on.\n")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_error(error: VaderError, document: dict[str, object] | None) -> None:
    if document is None:
        show_error(Console(stderr=True), error)
    else:
        sys.stderr.write(json.dumps(document) + "\n")


def _document(answer: BaseModel) -> dict[str, object]:
    """As it came from the service: its names, and none of the defaults for what it left out."""
    return answer.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
