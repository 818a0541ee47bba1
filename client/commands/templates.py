"""`vader templates`: job templates and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.assignments import placed
from client.command import Everything, Limit, Session, command
from client.commands.jobs import Set
from client.job_file import read_job
from client.show.prompts import show_template, show_templates

templates_app = typer.Typer(help="Store starts for jobs, in versions.", no_args_is_help=True)

TemplateId = Annotated[str, typer.Argument(metavar="TEMPLATE")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@command(templates_app, "create")
def create(
    session: Session,
    *,
    file: Annotated[
        Path, typer.Option("--file", "-f", help="YAML or JSON spec, or a part of one.")
    ],
    name: Annotated[str, typer.Option(help="What people call it.")],
    description: Description = None,
) -> None:
    """Store a job template from a file."""
    made = session.client.create_template(name, read_job(file), description=description or "")
    session.show(made, show_template)


@command(templates_app, "list")
def list_templates(session: Session, *, limit: Limit = 20, everything: Everything = False) -> None:
    """List job templates, latest first."""
    listing = session.client.templates()
    session.show_list(listing, show_templates, limit=limit, everything=everything)


@command(templates_app, "get")
def get(
    session: Session,
    template_id: TemplateId,
    *,
    version: Annotated[int | None, typer.Option(min=1, help="The newest if left out.")] = None,
) -> None:
    """Show one version of a job template."""
    session.show(session.client.template(template_id, version=version), show_template)


@command(templates_app, "update")
def update(
    session: Session,
    template_id: TemplateId,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="What to merge into the spec (RFC 7396).")
    ] = None,
    changes: Set = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    description: Description = None,
) -> None:
    """Make a new version of a job template. The earlier ones stay as they are."""
    spec = placed({} if file is None else read_job(file), changes, option="--set")
    made = session.client.update_template(
        template_id, name=name, description=description, spec=spec or None
    )
    session.show(made, show_template)


@command(templates_app, "archive")
def archive(session: Session, template_id: TemplateId) -> None:
    """Keep new jobs from naming a template. It can still be looked at."""
    session.show(session.client.archive_template(template_id), show_template)
