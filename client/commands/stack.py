"""`vader up`, and `vader completion` for the shell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.completion import shell_complete

from client.command import reporting
from client.credentials import DEFAULT_DATA_DIR
from client.stack.services import Options
from client.up import up


class Shell(StrEnum):
    """Those that can complete commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def add_stack_commands(app: typer.Typer) -> None:
    """Registers the commands of this module."""
    app.command("up")(up_command)
    app.command("completion")(completion)


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(metavar="SHELL")]
) -> None:
    """Print what makes a shell complete `vader` commands.

    bash: eval "$(vader completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc, after compinit; fish:
    vader completion fish > ~/.config/fish/completions/vader.fish
    """
    root = context.find_root()
    shell_complete(root.command, {}, "vader", "_VADER_COMPLETE", f"source_{shell}")


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
