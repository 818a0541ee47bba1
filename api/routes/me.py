"""Who the caller is."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from api.deps import CallerDep
from api.schemas.shared import At, Shape
from domain import db, ids, projects

router = APIRouter(tags=["me"])


class ProjectShape(Shape):
    """A team's project: all things but the catalogue belong to one."""

    id: str
    name: str
    created_at: At


class ApiKeyShape(Shape):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    expires_at: At | None
    last_used_at: At | None


class Me(Shape):
    """The project and key that the request came with."""

    object: Literal["me"] = "me"
    project: ProjectShape
    api_key: ApiKeyShape


@router.get("/me")
def get_me(caller: CallerDep) -> Me:
    """The caller's project and API key."""
    with db.read() as session:
        project = projects.get(session, caller.project_id)
    return Me(
        project=ProjectShape(
            id=ids.to_public("prj", project.id), name=project.name, created_at=project.created_at
        ),
        api_key=ApiKeyShape(
            id=ids.to_public("key", caller.key_id),
            name=caller.name,
            scopes=caller.scopes,
            expires_at=caller.expires_at,
            last_used_at=caller.last_used_at,
        ),
    )
