"""First images that prompts name and the project does not have."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue
from sqlalchemy.orm import Session

from domain import uploads
from vader_core.faults import Fault


def image_faults(
    session: Session, *, project_id: UUID, prompts: JsonValue, pointer: str
) -> list[Fault]:
    """What is wrong with the images of the list `prompts`, as the client sent it, at `pointer`.

    However wrong the rest of a prompt is, its image is looked at. The images that are right cannot be
    deleted before the session's transaction ends.
    """
    named = [
        (i, image)
        for i, prompt in enumerate(prompts if isinstance(prompts, list) else [])
        if isinstance(prompt, dict) and isinstance(image := prompt.get("image"), str)
    ]
    if not named:
        return []
    names = {image for _, image in named}
    found = uploads.in_project(session, project_id=project_id, names=names)
    images = {name for name, row in found.items() if uploads.medium(row) == "image"}
    return [
        Fault(
            pointer=f"{pointer}/{i}/image",
            code="unknown_image",
            detail=f"The upload {image!r} is a video, not an image."
            if image in found
            else f"There is no uploaded image {image[:100]!r} in this project. POST it to /v1/uploads.",
        )
        for i, image in named
        if image not in images
    ]
