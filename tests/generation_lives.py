"""Drives generations through their lives by the functions a generator uses."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from domain import db, generations
from domain.callers import Origin
from domain.generation_table import Generation
from domain.generations import TASKS, Asked
from domain.store import ObjectStore
from tests import factories
from vader_core.catalogue import BUILT_IN
from vader_core.failure import Failure
from vader_core.generating import GenerationSpec
from vader_core.generation_faults import check

PROMPT = "a red circle moving left"
MP4 = b"\x00\x00\x00\x20ftypisom" + b"frames" * 50
BROKEN = Failure(
    code="generator_crashed", message="It crashed.", hint="", fault="platform", retryable=True
)


def spec(**changes: Any) -> GenerationSpec:
    """A resolved spec of the tiny base model alone."""
    document = {"base_model": "tiny-unet", "prompt": PROMPT, **changes}
    return check(document, BUILT_IN, lambda _: None)


def waiting(project_id: UUID | None = None, **changes: Any) -> Generation:
    """A queued generation, of a project of its own unless told otherwise."""
    with db.transaction() as session:
        project_id = project_id or factories.project(session).id
        origin = Origin(project_id=project_id, trace_id=uuid4().hex)
        asked = Asked(spec=spec(**changes), adapter_id=None, inputs=[])
        return generations.create(session, asked, origin=origin)


def claimed(worker: str = "generator-1") -> Generation:
    """The next waiting generation, as it was claimed."""
    with db.transaction() as session:
        row = TASKS.claim(session, worker=worker)
    assert row is not None
    return row


def result_of(row: Generation) -> dict[str, Any]:
    """A result with a file for every video that the row asks for."""
    asked = GenerationSpec.model_validate(row.spec)
    scores = [{"reward": one.reward, "score": 0.25, "reason": None} for one in asked.rewards]
    videos = [
        {"role": role, "seed": seed, "file": _file(f"{role}-s{seed}.mp4"), "scores": scores}
        for role in asked.roles
        for seed in asked.every_seed
    ]
    sheet = _file("sheet.png") if len(asked.roles) > 1 else None
    device = {"device": "cpu", "precision": "float32", "seconds": 2.5}
    return {"videos": videos, "sheet": sheet, **device}


def succeeded(row: Generation, store: ObjectStore | None = None) -> Generation:
    """The row after it ended well, its files in `store`."""
    result = result_of(row)
    files = [video["file"] for video in result["videos"]]
    files += [result["sheet"]] if result["sheet"] else []
    prefix = generations.attempt_prefix(row.id, row.attempt)
    for file in files if store else []:
        assert store is not None
        store.put_if_absent(f"{prefix}/{file['path']}", MP4, content_type="video/mp4")
    with db.transaction() as session:
        return TASKS.succeed(
            session,
            row_id=row.id,
            attempt=row.attempt,
            result=result,
            size_bytes=len(files) * len(MP4),
        )


def failed(row: Generation, **changes: Any) -> Generation:
    error = BROKEN.model_copy(update=changes)
    with db.transaction() as session:
        return TASKS.fail_attempt(session, row_id=row.id, attempt=row.attempt, error=error)


def now(generation_id: UUID) -> Generation:
    """The row as it is."""
    with db.read() as session:
        return session.get_one(Generation, generation_id)


def grow_old(**ages: str) -> None:
    """Puts columns of all rows back by intervals: `created_at="2 hours"`."""
    back = ", ".join(f"{name} = {name} - interval '{age}'" for name, age in ages.items())
    with db.transaction() as session:
        session.execute(text(f"UPDATE generations SET {back}"))


def _file(path: str) -> dict[str, Any]:
    sha256 = hashlib.sha256(MP4).hexdigest()
    return {"path": path, "size_bytes": len(MP4), "sha256": sha256}
