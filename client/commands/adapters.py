"""`vader adapters`: what jobs have yielded, its names and its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.show.adapters import show_adapter, show_adapters, show_alias, show_aliases

adapters_app = typer.Typer(help="Find, name and fetch adapters.", no_args_is_help=True)

Reference = Annotated[
    str, typer.Argument(metavar="ADAPTER", help="Its id, @NAME, or the job that yielded it.")
]


@command(adapters_app, "list")
def list_adapters(session: Session, *, limit: Limit = 20, everything: Everything = False) -> None:
    """List adapters, newest first."""
    listing = session.client.adapters()
    session.show_list(listing, show_adapters, limit=limit, everything=everything)


@command(adapters_app, "get")
def get(session: Session, adapter: Reference) -> None:
    """Show an adapter: where it comes from, its names and files."""
    client = session.client
    session.show(client.adapter(client.adapter_id_of(adapter)), show_adapter)


@command(adapters_app, "pull")
def pull(
    session: Session,
    adapter: Reference,
    *,
    to: Annotated[Path, typer.Option(file_okay=False, help="Folder to put the files in.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only files below this path; may be repeated.")
    ] = None,
) -> None:
    """Download an adapter's files, each checked by its sha256. What broke off is gone on with."""
    found = session.client.download_adapter(adapter, to=to, only=only or ())
    paths = [str(path) for path in found]
    sys.stdout.write(json.dumps({"files": paths}) if session.as_json else "\n".join(paths))
    sys.stdout.write("\n")


@command(adapters_app, "aliases")
def aliases(session: Session) -> None:
    """List the names of adapters and what they mean."""
    session.show_all(session.client.aliases(), show_aliases)


@command(adapters_app, "unalias")
def unalias(session: Session, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Take a name away. The adapter stays."""
    session.client.delete_alias(name.removeprefix("@"))
    session.done(f"@{name.removeprefix('@')} means nothing any more.", name=name)


@command(adapters_app, "alias")
def alias(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="production, without the @")],
    adapter: Reference,
) -> None:
    """Make a name mean this adapter from now on."""
    client = session.client
    moved = client.set_alias(name.removeprefix("@"), client.adapter_id_of(adapter))
    session.show(moved, show_alias)
