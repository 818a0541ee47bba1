"""Who the caller is."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.deps import CallerDep
from api.schemas.access import ApiKeyShape, MemberShape
from api.schemas.shared import At, Shape
from domain import api_keys, db, ids, members, projects

router = APIRouter(tags=["access"])


class ProjectShape(Shape):
    """A team's project: all things but the catalogue belong to one."""

    id: str
    name: str
    created_at: At


class Me(Shape):
    """The project that the request came with, and the key or the member."""

    object: Literal["me"] = "me"
    project: ProjectShape
    scopes: list[str] = Field(description="What the request may do.")
    api_key: ApiKeyShape | None
    member: MemberShape | None


@router.get("/me")
def get_me(caller: CallerDep) -> Me:
    """The caller: project, scopes, and the API key or the member who is signed in."""
    mine = {"project_id": caller.project_id}
    with db.read() as session:
        project = projects.get(session, caller.project_id)
        key = caller.key_id and api_keys.get(session, **mine, key_id=caller.key_id)
        member = caller.member_id and members.get(session, **mine, member_id=caller.member_id)
    return Me(
        project=ProjectShape(
            id=ids.to_public("prj", project.id), name=project.name, created_at=project.created_at
        ),
        scopes=caller.scopes,
        api_key=ApiKeyShape.of(key) if key else None,
        member=MemberShape.of(member) if member else None,
    )
