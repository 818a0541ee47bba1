"""`vader keys` and `vader members`: who may do what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.show.access import show_key, show_keys, show_member, show_members

keys_app = typer.Typer(help="Make and revoke API keys.", no_args_is_help=True)
members_app = typer.Typer(help="Invite people to the dashboards.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="KEY")]
MemberId = Annotated[str, typer.Argument(metavar="MEMBER")]
Role = Annotated[str, typer.Option(help="viewer, editor or admin")]


@command(keys_app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    scope: Annotated[list[str], typer.Option(help="What it may do: jobs:read; repeated.")],
    expires_in_days: Annotated[
        float | None, typer.Option(min=0, help="For ever if left out.")
    ] = None,
) -> None:
    """Make an API key. Its text is shown this once."""
    ends = None
    if expires_in_days is not None:
        ends = datetime.now(UTC) + timedelta(days=expires_in_days)
    session.show(session.client.create_api_key(name, scopes=scope, expires_at=ends), show_key)


@command(keys_app, "list")
def list_keys(session: Session, *, limit: Limit = 20, everything: Everything = False) -> None:
    """List API keys, newest first."""
    session.show_list(session.client.api_keys(), show_keys, limit=limit, everything=everything)


@command(keys_app, "get")
def get(session: Session, key_id: KeyId) -> None:
    """Show an API key and what it may do."""
    session.show(session.client.api_key(key_id), show_key)


@command(keys_app, "rename")
def rename(
    session: Session, key_id: KeyId, name: Annotated[str, typer.Argument(metavar="NAME")]
) -> None:
    """Give an API key another name."""
    session.show(session.client.rename_api_key(key_id, name), show_key)


@command(keys_app, "revoke")
def revoke(session: Session, key_id: KeyId) -> None:
    """Revoke an API key, for ever."""
    session.client.revoke_api_key(key_id)
    session.done(f"Revoked {key_id}.", id=key_id)


@command(members_app, "invite")
def invite(
    session: Session,
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    *,
    name: Annotated[str, typer.Option(help="What people call them.")],
    role: Role = "viewer",
) -> None:
    """Invite somebody. The invitation is shown this once: hand it on."""
    session.show(session.client.invite_member(email, name=name, role=role), show_member)


@command(members_app, "reinvite")
def reinvite(session: Session, member_id: MemberId) -> None:
    """Make a fresh invitation, for one that expired or a password that was forgotten."""
    session.show(session.client.invite_member_again(member_id), show_member)


@command(members_app, "list")
def list_members(session: Session, *, limit: Limit = 20, everything: Everything = False) -> None:
    """List members, newest first."""
    session.show_list(session.client.members(), show_members, limit=limit, everything=everything)


@command(members_app, "get")
def get_member(session: Session, member_id: MemberId) -> None:
    """Show a member."""
    session.show(session.client.member(member_id), show_member)


@command(members_app, "update")
def update(
    session: Session,
    member_id: MemberId,
    *,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    role: Annotated[str | None, typer.Option(help="viewer, editor or admin")] = None,
) -> None:
    """Change a member's name or role."""
    session.show(session.client.update_member(member_id, name=name, role=role), show_member)


@command(members_app, "remove")
def remove(session: Session, member_id: MemberId) -> None:
    """Remove a member: sessions and invitations end."""
    session.client.remove_member(member_id)
    session.done(f"Removed {member_id}.", id=member_id)
