"""`vader prompts`: prompt sets and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.show.prompts import show_check, show_prompt_set, show_prompt_sets, show_prompts

prompts_app = typer.Typer(help="Store lists of prompts, in versions.", no_args_is_help=True)

PromptFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A prompt a line (.txt) or JSON lines (.jsonl).")
]
PromptSetId = Annotated[str, typer.Argument(metavar="PROMPT_SET")]
BaseModel = Annotated[
    str | None, typer.Option(help="Also check the lengths against its text encoder.")
]


@command(prompts_app, "push")
def push(
    session: Session,
    file: PromptFile,
    *,
    name: Annotated[str, typer.Option(help="The same name again makes a new version.")],
    base_model: BaseModel = None,
) -> None:
    """Store the prompts of a file as a prompt set."""
    stored = session.client.push_prompts(file, name=name, base_model=base_model)
    session.show(stored, show_prompt_set)


@command(prompts_app, "validate")
def validate(session: Session, file: PromptFile, *, base_model: BaseModel = None) -> None:
    """Say what `push` would find in a file. Nothing is stored."""
    found = session.client.validate_prompts(file, name=file.stem, base_model=base_model)
    session.show(found, show_check)


@command(prompts_app, "list")
def list_prompt_sets(
    session: Session,
    *,
    name: Annotated[str | None, typer.Option(help="Only the versions of this one.")] = None,
    limit: Limit = 20,
    everything: Everything = False,
) -> None:
    """List prompt sets, newest first."""
    listing = session.client.prompt_sets(name=name)
    session.show_list(listing, show_prompt_sets, limit=limit, everything=everything)


@command(prompts_app, "get")
def get(session: Session, prompt_set_id: PromptSetId) -> None:
    """Show a prompt set and what was found in it."""
    session.show(session.client.prompt_set(prompt_set_id), show_prompt_set)


@command(prompts_app, "lines")
def lines(
    session: Session,
    prompt_set_id: PromptSetId,
    *,
    side: Annotated[str | None, typer.Option(help="training or heldout")] = None,
    limit: Limit = 20,
    everything: Everything = False,
) -> None:
    """List the prompts of a set in their order, with the side of the split that each is on."""
    listing = session.client.prompts(prompt_set_id, side=side)
    session.show_list(listing, show_prompts, limit=limit, everything=everything)


@command(prompts_app, "delete")
def delete(session: Session, prompt_set_id: PromptSetId) -> None:
    """Delete one version of a prompt set that no open job has its prompts from."""
    session.client.delete_prompt_set(prompt_set_id)
    session.done(f"Deleted {prompt_set_id}.", id=prompt_set_id)
