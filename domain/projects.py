"""Projects: the teams that everything belongs to."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain.errors import Conflict, NotFound
from domain.ids import new_id, to_public
from domain.tables import Project


def create(session: Session, *, name: str) -> Project:
    """A new project. Raises `Conflict` when the name is taken."""
    inserted = insert(Project).values(id=new_id(), name=name).on_conflict_do_nothing()
    project: Project | None = session.scalar(inserted.returning(Project))
    if project is None:
        raise Conflict(f"There is a project named {name!r} already.")
    return project


def get(session: Session, project_id: UUID) -> Project:
    """The project. Raises `NotFound`."""
    project = session.get(Project, project_id)
    if project is None:
        raise NotFound(f"There is no project {to_public('prj', project_id)!r}.")
    return project


def by_name(session: Session, name: str) -> Project:
    """The project of that name. Raises `NotFound`."""
    project = session.scalar(select(Project).where(Project.name == name))
    if project is None:
        raise NotFound(f"There is no project named {name!r}.")
    return project
