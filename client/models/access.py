"""Who may do what, what it has cost, and who did it: keys, members, usage, quotas, the audit log."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import Field, JsonValue

from client.models.shared import Answer


class Project(Answer):
    """A team's project."""

    id: str
    name: str
    created_at: datetime | None = None


class ApiKey(Answer):
    """An API key; `hint` is how its text begins. `api_key`, the text, is told once, when it is made."""

    id: str
    name: str
    hint: str = ""
    scopes: list[str] = []
    api_key: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class Member(Answer):
    """Somebody who may sign in to the project's dashboards. `invitation_token` is told once."""

    id: str
    email: str
    name: str
    role: str
    scopes: list[str] = []
    invitation_token: str | None = None
    invitation_expires_at: datetime | None = None
    joined_at: datetime | None = None
    created_at: datetime


class Me(Answer):
    """Whose credentials these are."""

    project: Project
    scopes: list[str] = []
    api_key: ApiKey | None = None
    member: Member | None = None


class Quota(Answer):
    """One quota; `limit` None means that there is none."""

    name: str
    limit: int | None = None
    used: int | float = 0
    left: int | float | None = None
    resets_at: datetime | None = None
    when_used_up: str = ""


class UsageRow(Answer):
    """What one group used in one interval. Fields that are not grouped by are None."""

    start: date | None = Field(default=None, alias="from")
    base_model: str | None = None
    team: str | None = None
    kind: str | None = None
    gpu_seconds: float = 0.0
    reward_queries: int = 0
    evaluation_queries: int = 0
    cost: str = ""


class Usage(Answer):
    """What the project used, by group and interval, earliest first."""

    first: date = Field(alias="from")
    to: date
    interval: str | None = None
    group_by: list[str] = []
    currency: str = ""
    data: list[UsageRow] = []
    total: UsageRow


class Actor(Answer):
    """Who did it."""

    type: str
    id: str | None = None
    name: str | None = None


class AuditEntry(Answer):
    """One thing that somebody did. `action` is of the form thing.verb."""

    id: str
    at: datetime
    actor: Actor
    action: str
    target: str | None = None
    details: dict[str, JsonValue] = {}
    request_id: str | None = None
    address: str | None = None


class StreamToken(Answer):
    """A token that opens event streams for a few minutes, for browsers."""

    token: str
    expires_at: datetime
