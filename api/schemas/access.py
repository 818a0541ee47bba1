"""API keys, members, sessions and audit entries as clients ask for them and see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.access_tables import AuditEntry, Member, MemberSession
from domain.api_keys import ALL_SCOPES
from domain.db import utc_now
from domain.members import SCOPES, Role
from domain.passwords import LONGEST, SHORTEST
from domain.tables import ApiKey
from vader_core.moment import Moment
from vader_core.strict import Strict

Scope = Literal[ALL_SCOPES]  # type: ignore[valid-type]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+$",
    ),
]
Password = Annotated[str, StringConstraints(min_length=SHORTEST, max_length=LONGEST)]


def _to_come(at: datetime) -> datetime:
    if at <= utc_now():
        raise ValueError("give a time that is to come")
    return at


class ApiKeyRequest(Strict):
    """A new API key. Its scopes are at most those of whoever makes it."""

    name: Name
    scopes: list[Scope] = Field(min_length=1, description="What the key may do.")
    expires_at: Annotated[Moment, AfterValidator(_to_come)] | None = Field(
        default=None,
        description="None: it holds until it is revoked, or as long as the key that makes it.",
    )


class RenameRequest(Strict):
    """Another name."""

    name: Name


class ApiKeyShape(Shape):
    """An API key, without its secret."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    hint: str = Field(description="How the key's text begins.")
    scopes: list[str]
    created_at: At
    expires_at: At | None
    last_used_at: At | None = Field(description="To the minute.")
    revoked_at: At | None

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyShape:
        return cls(**_key_fields(key))


class NewApiKey(ApiKeyShape):
    """An API key with its text."""

    api_key: str | None = Field(
        description="Shown this once: null where the request is repeated. Keep it in a secret store."
    )

    @classmethod
    def made(cls, key: ApiKey, text: str) -> NewApiKey:
        return cls(**_key_fields(key), api_key=text)


def _key_fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": ids.to_public("key", key.id),
        "name": key.name,
        "hint": f"vdr_live_{key.lookup_id}_",
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


class MemberRequest(Strict):
    """Somebody to invite."""

    email: Email
    name: Name
    role: Role = "viewer"


class MemberChange(Strict):
    """Another name or role; what is left out stays."""

    name: Name | None = None
    role: Role | None = None


class InviteAgainRequest(Strict):
    """Nothing is to be said."""


class MemberShape(Shape):
    """Somebody who may sign in to the project."""

    id: str
    object: Literal["member"] = "member"
    email: str
    name: str
    role: Role
    scopes: list[str] = Field(description="What the role may do.")
    joined_at: At | None = Field(description="When the invitation was accepted.")
    invitation_expires_at: At | None = Field(description="Of an invitation that is open.")
    created_at: At

    @classmethod
    def of(cls, member: Member) -> MemberShape:
        return cls(**_member_fields(member))


class InvitedMember(MemberShape):
    """A member with the token of the invitation."""

    invitation_token: str | None = Field(
        description="Shown this once: null where the request is repeated. Hand it to the member."
    )

    @classmethod
    def invited(cls, member: Member, token: str) -> InvitedMember:
        return cls(**_member_fields(member), invitation_token=token)


def _member_fields(member: Member) -> dict[str, Any]:
    return {
        "id": ids.to_public("mem", member.id),
        "email": member.email,
        "name": member.name,
        "role": member.role,
        "scopes": list(SCOPES[member.role]),
        "joined_at": member.joined_at,
        "invitation_expires_at": member.invitation_expires_at,
        "created_at": member.created_at,
    }


class AcceptRequest(Strict):
    """An invitation taken up."""

    token: str = Field(max_length=200)
    password: Password


class SignInRequest(Strict):
    """Email and password of a member."""

    email: Email
    password: str = Field(max_length=LONGEST)
    project: str | None = Field(
        default=None,
        max_length=200,
        description="Id or name, where the password is that of several projects' members.",
    )


class SessionShape(Shape):
    """A browser that a member is signed in with."""

    id: str
    object: Literal["session"] = "session"
    member_id: str
    current: bool = Field(description="It is the one that this request came with.")
    address: str | None
    user_agent: str | None
    created_at: At
    last_used_at: At
    expires_at: At

    @classmethod
    def of(cls, row: MemberSession, *, current: bool) -> SessionShape:
        return cls(
            id=ids.to_public("ses", row.id),
            member_id=ids.to_public("mem", row.member_id),
            current=current,
            address=row.address,
            user_agent=row.user_agent,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
        )


class Actor(Shape):
    """Who did it."""

    type: Literal["api_key", "member", "operator"]
    id: str | None
    name: str | None


class AuditShape(Shape):
    """One thing that somebody did."""

    id: str
    object: Literal["audit_entry"] = "audit_entry"
    at: At
    actor: Actor
    action: str = Field(description="`thing.verb`. The set is open.")
    target: str | None = Field(description="The id of what it was done to.")
    details: dict[str, Any]
    request_id: str | None
    address: str | None

    @classmethod
    def of(cls, entry: AuditEntry, actor: Actor) -> AuditShape:
        return cls(
            id=ids.to_public("aud", entry.id),
            at=entry.created_at,
            actor=actor,
            action=entry.action,
            target=entry.target,
            details=entry.details,
            request_id=entry.request_id,
            address=entry.address,
        )


class ApiKeyPage(Page[ApiKeyShape]):
    """A page of API keys."""


class MemberPage(Page[MemberShape]):
    """A page of members."""


class SessionPage(Page[SessionShape]):
    """A page of sessions."""


class AuditPage(Page[AuditShape]):
    """A page of the audit log."""
