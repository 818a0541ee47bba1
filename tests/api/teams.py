"""Projects and keys, and what teams send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from domain import api_keys, db, projects
from tests.factories import document


@dataclass(frozen=True)
class Team:
    """A project and one key of it. `headers` are those of its requests."""

    project_id: UUID
    key_id: UUID
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def make_team(name: str, scopes: Sequence[str] = api_keys.ALL_SCOPES) -> Team:
    with db.transaction() as session:
        project = projects.create(session, name=name)
        key, token = api_keys.create(
            session, project_id=project.id, name=f"{name}-ci", scopes=scopes
        )
    return Team(project.id, key.id, token)


def new_key() -> dict[str, str]:
    """An Idempotency-Key header that was never used."""
    return {"Idempotency-Key": str(uuid4())}


def post_job(client: Any, **changes: Any) -> dict[str, Any]:
    """The body of a job that `client` has just created."""
    answer = client.post("/v1/jobs", json=document(**changes), headers=new_key())
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body
