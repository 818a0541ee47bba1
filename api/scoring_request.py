"""A document that asks for scores, checked in every respect at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import JsonValue, ValidationError
from sqlalchemy.orm import Session

from api.documents import storage_faults
from api.schemas.scorings import MAX_VIDEOS, ScoringRequest, VideoToScore
from domain import artifacts, ids, uploads
from domain.errors import NotFound, ValidationFailed
from domain.scorings import Asked
from vader_core.catalogue import RewardRow
from vader_core.faults import Fault, shape_faults
from vader_core.scoring import scoring_faults


def asked_scoring(session: Session, project_id: UUID, document: JsonValue, row: RewardRow) -> Asked:
    """What was asked for, with the places of the videos.

    Raises `ValidationFailed` with every fault there is. The uploads cannot be deleted before the
    session's transaction ends.
    """
    asked: JsonValue = {} if document is None else document
    faults = storage_faults(asked)
    try:
        ScoringRequest.model_validate(asked)
    except ValidationError as error:
        faults += shape_faults(error, asked)
    videos = _sound_videos(asked)
    params = asked.get("params") if isinstance(asked, dict) else None
    params = params if isinstance(params, dict) else {}
    faults += scoring_faults(row, params, videos)
    places, missing = _places(session, project_id, videos)
    faults += missing
    if faults:
        raise ValidationFailed(faults)
    return Asked(
        reward={
            "id": row.id,
            "version": row.version,
            "name": f"{row.id}@{row.version}",
            "title": row.title,
            "per": row.per,
            "range": list(row.range),
        },
        params=dict(params),
        videos=[{**video.model_dump(), **places[i]} for i, video in videos.items()],
    )


def _sound_videos(asked: JsonValue) -> dict[int, VideoToScore]:
    """The well-formed videos by their place, however wrong the others are."""
    given = asked.get("videos") if isinstance(asked, dict) else None
    sound: dict[int, VideoToScore] = {}
    for i, video in enumerate(given[:MAX_VIDEOS] if isinstance(given, list) else []):
        try:
            sound[i] = VideoToScore.model_validate(video)
        except ValidationError:
            # What is wrong with its form is told by the check of the whole.
            continue
    return sound


def _places(
    session: Session, project_id: UUID, videos: Mapping[int, VideoToScore]
) -> tuple[dict[int, dict[str, Any]], list[Fault]]:
    """Key, sha256 and size of every video that the project has, and a fault for every other."""
    names = {video.upload for video in videos.values() if video.upload is not None}
    brought = uploads.in_project(session, project_id=project_id, names=names)
    places: dict[int, dict[str, Any]] = {}
    faults: list[Fault] = []
    for i, video in videos.items():
        found = (
            brought.get(video.upload)
            if video.upload is not None
            else _sample(session, project_id, video.sample or "")
        )
        field = "upload" if video.upload is not None else "sample"
        pointer = f"/videos/{i}/{field}"
        if found is None:
            detail = f"There is no {field} {getattr(video, field)[:100]!r} in this project."
            faults.append(Fault(pointer=pointer, code="unknown_video", detail=detail))
        elif field == "upload" and uploads.medium(brought[video.upload or ""]) != "video":
            detail = f"The upload {video.upload!r} is an image, not a video."
            faults.append(Fault(pointer=pointer, code="not_a_video", detail=detail))
        else:
            places[i] = {name: getattr(found, name) for name in ("key", "sha256", "size_bytes")}
    return places, faults


def _sample(session: Session, project_id: UUID, name: str) -> object | None:
    try:
        sample_id = ids.from_public("smp", name)
        return artifacts.sample(session, project_id=project_id, sample_id=sample_id)
    except NotFound:
        return None
