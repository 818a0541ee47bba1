"""Keys, members, usage, quotas and the audit log as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console

from client.models import ApiKey, AuditEntry, Me, Member, Quota, Usage, UsageRow
from client.show.tables import duration, labelled, moment, number, show_lines, show_table, size

_TOLD_ONCE = "told this once: keep it in a secret store"


def show_keys(console: Console, keys: Sequence[ApiKey]) -> None:
    """A table."""
    rows = [
        (one.id, one.name, _or_never(one.expires_at), _or_never(one.last_used_at)) for one in keys
    ]
    show_table(console, ("key", "name", "expires", "last used"), rows)


def show_key(console: Console, key: ApiKey) -> None:
    """One key in some lines, with its text where it was just made."""
    lines = [
        f"{key.id}  {key.name}",
        *labelled("scopes", *key.scopes),
        *labelled("expires", _or_never(key.expires_at)),
    ]
    if key.revoked_at is not None:
        lines += labelled("revoked", moment(key.revoked_at))
    if key.api_key is not None:
        lines += labelled("key", key.api_key, _TOLD_ONCE)
    show_lines(console, lines)


def show_members(console: Console, members: Sequence[Member]) -> None:
    """A table."""
    rows = [(one.id, one.email, one.name, one.role, _joined(one)) for one in members]
    show_table(console, ("member", "email", "name", "role", "joined"), rows)


def show_member(console: Console, member: Member) -> None:
    """One member in some lines, with the invitation where it was just made."""
    lines = [
        f"{member.id}  {member.name}",
        *labelled("email", member.email),
        *labelled("role", member.role),
        *labelled("joined", _joined(member)),
    ]
    if member.invitation_token is not None:
        until = f"told this once; holds until {moment(member.invitation_expires_at)}"
        lines += labelled("invitation", member.invitation_token, until)
    show_lines(console, lines)


def show_me(console: Console, me: Me) -> None:
    """Whose credentials these are."""
    lines = [*labelled("project", f"{me.project.id}  {me.project.name}")]
    if me.api_key is not None:
        lines += labelled("key", f"{me.api_key.id}  {me.api_key.name}")
        lines += labelled("scopes", *me.api_key.scopes)
        lines += labelled("expires", _or_never(me.api_key.expires_at))
    show_lines(console, lines)


def show_usage(console: Console, usage: Usage) -> None:
    """A row for each group and interval, and their sum."""
    groups = [name for name in ("base_model", "team", "kind") if name in usage.group_by]
    titles = ["from" if usage.interval else "", *(name.replace("_", " ") for name in groups)]
    rows = [[*_group(row, usage, groups), *_used(row)] for row in usage.data]
    rows.append(["total", *("" for _ in groups), *_used(usage.total)])
    show_lines(console, [f"{usage.first} to {usage.to}, days of UTC"])
    show_table(console, (*titles, "GPU time", "queries", f"cost ({usage.currency})"), rows)


def show_quotas(console: Console, quotas: Sequence[Quota]) -> None:
    """A table."""
    rows = [
        (
            one.name.replace("_", " "),
            _amount(one, one.used),
            "no limit" if one.limit is None else _amount(one, one.limit),
            "-" if one.left is None else _amount(one, one.left),
            "" if one.resets_at is None else moment(one.resets_at),
        )
        for one in quotas
    ]
    show_table(console, ("quota", "used", "limit", "left", "begins anew"), rows)


def show_audit(console: Console, entries: Sequence[AuditEntry]) -> None:
    """A table."""
    rows = [
        (
            f"{one.at.astimezone():%m-%d %H:%M}",
            one.actor.name or one.actor.type,
            one.action,
            one.target or "",
        )
        for one in entries
    ]
    show_table(console, ("at", "who", "action", "target"), rows)


def _or_never(at: datetime | None) -> str:
    return "never" if at is None else moment(at)


def _joined(member: Member) -> str:
    return "invited" if member.joined_at is None else moment(member.joined_at)


def _group(row: UsageRow, usage: Usage, groups: Sequence[str]) -> list[str]:
    start = f"{row.start}" if usage.interval and row.start else ""
    return [start, *(str(getattr(row, name) or "-") for name in groups)]


def _used(row: UsageRow) -> list[str]:
    return [duration(row.gpu_seconds), number(row.reward_queries), row.cost]


def _amount(quota: Quota, value: float) -> str:
    if quota.name.endswith("bytes"):
        return size(value)
    return duration(value) if "seconds" in quota.name else number(value)
