# Generated from client/aio/access.py by `python -m tests.sync_client`. Do not edit.
"""Who may do what, what it has cost, and who did it: keys, members, usage, quotas, the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from client.answers import given
from client.models import ApiKey, AuditEntry, Member, Page, Quota, Usage
from client.paths import at
from client.sync.calls import Calls, Listing


class AccessCalls(Calls):
    """The project's own administration."""

    def create_api_key(
        self,
        name: str,
        *,
        scopes: Sequence[str],
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """A new API key; its text is told this once, as `api_key`. Without `expires_at` it holds until it is
        revoked."""
        expires = expires_at and expires_at.isoformat()
        body = {"name": name, "scopes": list(scopes), "expires_at": expires}
        return self._post(ApiKey, at("/v1/api-keys"), body, idempotency_key=idempotency_key)

    def api_keys(self) -> Listing[ApiKey]:
        """This project's API keys that are not revoked, newest first."""
        return self._list(ApiKey, at("/v1/api-keys"))

    def api_key(self, key_id: str) -> ApiKey:
        """One API key, also after it was revoked."""
        return self._get(ApiKey, at("/v1/api-keys/{}", key_id))

    def rename_api_key(self, key_id: str, name: str) -> ApiKey:
        """Gives an API key another name."""
        return self._patch(ApiKey, at("/v1/api-keys/{}", key_id), {"name": name})

    def revoke_api_key(self, key_id: str) -> None:
        """The key does not work any more, for ever."""
        self._delete(at("/v1/api-keys/{}", key_id))

    def invite_member(
        self, email: str, *, name: str, role: str = "viewer", idempotency_key: str | None = None
    ) -> Member:
        """Invites somebody to the dashboards as viewer, editor or admin; `invitation_token` is told this
        once, to be handed on."""
        body = {"email": email, "name": name, "role": role}
        return self._post(Member, at("/v1/members"), body, idempotency_key=idempotency_key)

    def invite_member_again(self, member_id: str, *, idempotency_key: str | None = None) -> Member:
        """A fresh invitation, for one that expired or a password that was forgotten."""
        path = at("/v1/members/{}/invitation", member_id)
        return self._post(Member, path, idempotency_key=idempotency_key)

    def members(self) -> Listing[Member]:
        """Who may sign in to the dashboards, newest first."""
        return self._list(Member, at("/v1/members"))

    def member(self, member_id: str) -> Member:
        """One member."""
        return self._get(Member, at("/v1/members/{}", member_id))

    def update_member(
        self, member_id: str, *, name: str | None = None, role: str | None = None
    ) -> Member:
        """Changes a member's name or role."""
        changes = given({"name": name, "role": role})
        return self._patch(Member, at("/v1/members/{}", member_id), changes)

    def remove_member(self, member_id: str) -> None:
        """Ends a member's sessions and invitations."""
        self._delete(at("/v1/members/{}", member_id))

    def usage(
        self,
        *,
        group_by: Sequence[str] = ("base_model",),
        interval: str | None = None,
        first: date | None = None,
        last: date | None = None,
    ) -> Usage:
        """What was used from `first` (else 30 days ago) to `last` (else today), days of UTC.

        `group_by` takes any of base_model, team, kind; `interval` is day, month or None for one sum.
        """
        params = {
            "group_by": ",".join(group_by),
            "interval": interval,
            "from": first and first.isoformat(),
            "to": last and last.isoformat(),
        }
        return self._get(Usage, at("/v1/usage"), params=params)

    def quotas(self) -> list[Quota]:
        """What the project may use, and what it uses now."""
        return (self._get(Page[Quota], at("/v1/quotas"))).data

    def audit_log(
        self,
        *,
        actor: str | None = None,
        actor_type: str | None = None,
        action: str | None = None,
        target: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Listing[AuditEntry]:
        """Who did what, latest first. `action` is `thing.verb`, or `thing` for all that is done to such."""
        wanted = {
            "actor": actor,
            "actor_type": actor_type,
            "action": action,
            "target": target,
            "after": after and after.isoformat(),
            "before": before and before.isoformat(),
        }
        return self._list(AuditEntry, at("/v1/audit-log"), wanted)
