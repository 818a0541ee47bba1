"""Rows for tests, made by the real functions. Call them inside a `db.transaction()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from domain import api_keys, jobs, projects, prompt_sets
from domain.callers import Origin
from domain.prompt_report import Read, report_of
from domain.tables import Job, Project, PromptSet
from vader_core.catalogue import BUILT_IN
from vader_core.resolve import check
from vader_core.spec import JobSpec, Prompt

PROMPTS = [
    {"prompt": f"a {colour} circle moving {way}", "target": f"moving {way}", "heldout": heldout}
    for colour, heldout in (("red", False), ("blue", True))
    for way in ("left", "right")
]


def document(**changes: Any) -> dict[str, Any]:
    """What a client might POST: a small job on the tiny world, with top-level fields changed."""
    return {
        "name": "left and right",
        "base_model": "tiny-unet",
        "rewards": [{"reward": "tiny-action"}],
        "prompts": {"inline": PROMPTS},
        "budget": {"max_steps": 20},
        **changes,
    }


def spec(**changes: Any) -> JobSpec:
    """The resolved spec of `document(**changes)`."""
    return check(document(**changes), BUILT_IN, lambda _: None)


def project(session: Session, name: str = "") -> Project:
    """A project, named uniquely unless told how."""
    return projects.create(session, name=name or f"project {uuid4().hex[:8]}")


def key(session: Session, project_id: UUID, **options: Any) -> str:
    """The text of a new API key of the project."""
    _, token = api_keys.create(session, project_id=project_id, name="test", **options)
    return token


def job(session: Session, project_id: UUID, **changes: Any) -> Job:
    """A queued job for `document(**changes)`."""
    return jobs.create(
        session,
        spec=spec(**changes),
        asked_spec=document(**changes),
        origin=Origin(project_id=project_id, trace_id=uuid4().hex),
    )


def prompt_set(
    session: Session, project_id: UUID, prompts: Sequence[Prompt], *, name: str = "ways"
) -> PromptSet:
    """The next version of a prompt set."""
    read = Read(list(prompts), [f"/prompts/{index}" for index in range(len(prompts))])
    return prompt_sets.create(
        session,
        origin=Origin(project_id=project_id, trace_id=uuid4().hex),
        name=name,
        prompts=prompts,
        report=report_of(
            read,
            base_model=None,
            predecessor=prompt_sets.newest(session, project_id=project_id, name=name),
        ),
    )
