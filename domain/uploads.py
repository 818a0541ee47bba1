"""Uploads: images and videos that teams bring. The same bytes are stored once a project.

The bytes lie in the object store before the row points at them. What is in use cannot be deleted: users of
an upload lock its row until their own row is there, and so does whoever deletes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain.errors import Conflict, NotFound
from domain.generation_table import Generation
from domain.ids import from_public, to_public
from domain.pages import Page, page
from domain.scoring_table import TERMINAL as SCORED
from domain.scoring_table import Scoring
from domain.tables import Job, PromptSet
from domain.upload_table import Upload
from vader_core.spec import JobSpec

MIB = 2**20
HEAD_BYTES = 16
_SHOWN_USERS = 5


@dataclass(frozen=True)
class Kind:
    """A media type that may be uploaded. `begins` tells by the first 16 bytes whether a file is of it."""

    medium: Literal["image", "video"]
    suffix: str
    max_bytes: int
    begins: Callable[[bytes], bool]


KINDS = {
    "image/png": Kind("image", ".png", 20 * MIB, lambda head: head[:8] == b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": Kind("image", ".jpg", 20 * MIB, lambda head: head[:3] == b"\xff\xd8\xff"),
    "image/webp": Kind(
        "image", ".webp", 20 * MIB, lambda head: (head[:4], head[8:12]) == (b"RIFF", b"WEBP")
    ),
    "video/mp4": Kind("video", ".mp4", 100 * MIB, lambda head: head[4:8] == b"ftyp"),
    "video/webm": Kind("video", ".webm", 100 * MIB, lambda head: head[:4] == b"\x1aE\xdf\xa3"),
}


@dataclass(frozen=True)
class Received:
    """A file as it was received, lying at `path`; `content_type` is one of `KINDS` and true."""

    path: Path
    name: str
    content_type: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ImageRef:
    """A stored first image. `name` is the upload's public id, by which prompts call it."""

    name: str
    key: str
    sha256: str


def object_key(upload_id: UUID) -> str:
    """Where the bytes of the upload lie."""
    return f"uploads/{to_public('upl', upload_id)}"


def add(
    session: Session,
    *,
    upload_id: UUID,
    project_id: UUID,
    file: Received,
    created_by_key_id: UUID | None = None,
) -> Upload:
    """The upload of these bytes: the project's earlier one, or a new one whose object is stored already."""
    row = insert(Upload).values(
        id=upload_id,
        project_id=project_id,
        created_by_key_id=created_by_key_id,
        name=file.name,
        content_type=file.content_type,
        key=object_key(upload_id),
        sha256=file.sha256,
        size_bytes=file.size_bytes,
    )
    same = [Upload.project_id, Upload.sha256]
    # An update that changes nothing returns the earlier row, and waits for one who deletes it.
    written = row.on_conflict_do_update(index_elements=same, set_={"sha256": file.sha256})
    return session.scalars(written.returning(Upload)).one()


def get(session: Session, *, project_id: UUID, upload_id: UUID) -> Upload:
    """The upload. Raises `NotFound`, also for another project's."""
    found = session.get(Upload, upload_id)
    if found is None or found.project_id != project_id:
        raise _missing(upload_id)
    return found


def exists(session: Session, upload_id: UUID) -> bool:
    """Whether there is a row for the object that was stored for this id."""
    return session.get(Upload, upload_id) is not None


def list_uploads(
    session: Session, *, project_id: UUID, cursor: str | None, limit: int
) -> Page[Upload]:
    """The project's uploads, newest first."""
    return page(
        session,
        select(Upload).where(Upload.project_id == project_id),
        keys=(Upload.created_at, Upload.id),
        filtered_by=f"uploads {project_id}",
        cursor=cursor,
        limit=limit,
    )


def delete(session: Session, *, project_id: UUID, upload_id: UUID) -> str:
    """Removes the row; the key of its object, which the caller deletes after the commit.

    Raises `NotFound`, and `Conflict` while a prompt set, or a job, scoring or generation that has not ended, uses it.
    """
    query = select(Upload).where(Upload.id == upload_id, Upload.project_id == project_id)
    row = session.scalar(query.with_for_update())
    if row is None:
        raise _missing(upload_id)
    users = _users(session, row)
    if users:
        shown = ", ".join(users[:_SHOWN_USERS])
        raise Conflict(f"The upload is in use by {shown}.", used_by=list(users[:_SHOWN_USERS]))
    session.delete(row)
    return row.key


def in_project(session: Session, *, project_id: UUID, names: Collection[str]) -> dict[str, Upload]:
    """The project's uploads among those that `names` mean, by public id.

    They are locked against being deleted until the transaction ends.
    """
    wanted = {name: upload_id for name in names if (upload_id := _parsed(name)) is not None}
    query = select(Upload).where(
        Upload.project_id == project_id, Upload.id.in_(list(wanted.values()))
    )
    rows = session.scalars(query.order_by(Upload.id).with_for_update(read=True))
    found = {row.id: row for row in rows}
    return {name: found[upload_id] for name, upload_id in wanted.items() if upload_id in found}


def medium(upload: Upload) -> Literal["image", "video"]:
    """Whether it is an image or a video."""
    return KINDS[upload.content_type].medium


def first_images(session: Session, *, project_id: UUID, spec: JobSpec) -> list[ImageRef]:
    """What a worker needs of the first images that the prompts of `spec`, which stand inline, name."""
    names = {prompt.image for prompt in spec.prompts.inline or [] if prompt.image is not None}
    if not names:
        return []
    found = in_project(session, project_id=project_id, names=names)
    return [ImageRef(name, row.key, row.sha256) for name, row in sorted(found.items())]


def _users(session: Session, row: Upload) -> list[str]:
    """The ids of what still needs the upload."""
    name = to_public("upl", row.id)
    sets = select(PromptSet.id).where(
        PromptSet.project_id == row.project_id, PromptSet.items.contains([{"image": name}])
    )
    jobs = select(Job.id).where(
        Job.project_id == row.project_id,
        Job.finished_at.is_(None),
        Job.spec[("prompts", "inline")].contains([{"image": name}]),
    )
    scorings = select(Scoring.id).where(
        Scoring.project_id == row.project_id,
        Scoring.status.not_in(SCORED),
        Scoring.videos.contains([{"upload": name}]),
    )
    generations = select(Generation.id).where(
        Generation.project_id == row.project_id,
        Generation.finished_at.is_(None),
        Generation.spec["image"].astext == name,
    )
    return [
        *(to_public("ps", found) for found in session.scalars(sets.limit(_SHOWN_USERS))),
        *(to_public("job", found) for found in session.scalars(jobs.limit(_SHOWN_USERS))),
        *(to_public("scr", found) for found in session.scalars(scorings.limit(_SHOWN_USERS))),
        *(to_public("gen", found) for found in session.scalars(generations.limit(_SHOWN_USERS))),
    ]


def _parsed(name: str) -> UUID | None:
    try:
        return from_public("upl", name)
    except NotFound:
        return None


def _missing(upload_id: UUID) -> NotFound:
    return NotFound(f"There is no upload {to_public('upl', upload_id)!r} in this project.")
