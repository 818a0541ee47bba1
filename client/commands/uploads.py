"""`vader uploads`: images and videos brought to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.show.catalogue import show_uploads

uploads_app = typer.Typer(help="Bring first images and videos.", no_args_is_help=True)


@command(uploads_app, "create")
def create(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="PNG, JPEG, WebP, mp4 or WebM.")
    ],
) -> None:
    """Upload files; the ids are what prompts and scorings name."""
    session.show_all([session.client.upload(path) for path in files], show_uploads)


@command(uploads_app, "list")
def list_uploads(session: Session, *, limit: Limit = 20, everything: Everything = False) -> None:
    """List uploads, newest first."""
    session.show_list(session.client.uploads(), show_uploads, limit=limit, everything=everything)


@command(uploads_app, "delete")
def delete(session: Session, upload_id: Annotated[str, typer.Argument(metavar="UPLOAD")]) -> None:
    """Delete an upload that nothing needs any more."""
    session.client.delete_upload(upload_id)
    session.done(f"Deleted {upload_id}.", id=upload_id)
