"""`vader me`, `usage`, `quotas`, `audit` and `events`: the project as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.commands.job_history import Types
from client.show.access import show_audit, show_me, show_quotas, show_usage
from client.show.history import show_feed


def add_project_commands(app: typer.Typer) -> None:
    """Registers the commands of this module, which belong to no group."""
    for name, function in (
        ("me", me),
        ("usage", usage),
        ("quotas", quotas),
        ("audit", audit),
        ("events", events),
    ):
        command(app, name)(function)


def me(session: Session) -> None:
    """Show whose key this is and what it may do."""
    session.show(session.client.me(), show_me)


def usage(
    session: Session,
    *,
    group_by: Annotated[
        str, typer.Option(help="base_model, team, kind, or several by commas.")
    ] = "base_model",
    interval: Annotated[str | None, typer.Option(help="day or month; else one sum.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="30 days ago.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Today.")
    ] = None,
) -> None:
    """Show what the project has used."""
    found = session.client.usage(
        group_by=group_by.split(","),
        interval=interval,
        first=since and since.date(),
        last=until and until.date(),
    )
    session.show(found, show_usage)


def quotas(session: Session) -> None:
    """Show what the project may use, and what it uses now."""
    session.show_all(session.client.quotas(), show_quotas)


def audit(
    session: Session,
    *,
    actor: Annotated[str | None, typer.Option(help="A key's or a member's id.")] = None,
    action: Annotated[str | None, typer.Option(help="job.cancel, or job for all of them.")] = None,
    target: Annotated[str | None, typer.Option(help="What it was done to.")] = None,
    limit: Limit = 20,
    everything: Everything = False,
) -> None:
    """Show who did what, latest first."""
    listing = session.client.audit_log(actor=actor, action=action, target=target)
    session.show_list(listing, show_audit, limit=limit, everything=everything)


def events(
    session: Session,
    *,
    kinds: Types = None,
    after: Annotated[
        str | None, typer.Option(help="A cursor; with --follow now if left out.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on as it happens.")] = False,
) -> None:
    """Show what happens to all jobs of the project."""
    if not follow:
        page = session.client.feed_page(after=after, types=kinds or (), limit=limit)
        session.show(page, lambda console, found: show_feed(console, found.data))
        return
    for event in session.client.feed(after=after, types=kinds or ()):
        session.show(event, lambda console, one: show_feed(console, [one]))
