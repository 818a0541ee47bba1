"""A document that asks for a generation, checked in every respect at once."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue
from sqlalchemy.orm import Session

from api.documents import storage_faults
from domain import adapter_registry, generations, uploads
from domain.errors import ArtifactExpired, NotFound, ValidationFailed
from domain.generations import Asked
from domain.tables import Adapter
from domain.upload_table import Upload
from vader_core.catalogue import Catalogue
from vader_core.faults import Fault, InvalidSpec
from vader_core.generation_faults import AdapterOrigin, check


def asked_generation(
    session: Session, project_id: UUID, document: JsonValue, catalogue: Catalogue
) -> Asked:
    """What was asked for, with the places of the adapter's files and of the first image.

    Raises `ValidationFailed` with every fault there is. Neither the image nor the job whose adapter it is can
    be deleted before the session's transaction ends.
    """
    faults = storage_faults(document)
    adapters: list[Adapter] = []

    def find_adapter(reference: str) -> AdapterOrigin | None:
        if storage_faults(reference):
            return None
        try:
            adapters.append(
                adapter_registry.held(session, project_id=project_id, reference=reference)
            )
        except (NotFound, ArtifactExpired):
            return None
        return generations.origin_of(session, adapters[0])

    image, image_faults = _image(session, project_id, document)
    faults += image_faults
    try:
        spec = check(document, catalogue, find_adapter)
    except InvalidSpec as error:
        raise ValidationFailed(error.faults + faults) from error
    if faults:
        raise ValidationFailed(faults)
    adapter = adapters[0] if adapters else None
    return Asked(
        spec=spec,
        adapter_id=None if adapter is None else adapter.id,
        inputs=generations.inputs_of(adapter, image),
    )


def _image(
    session: Session, project_id: UUID, document: JsonValue
) -> tuple[Upload | None, list[Fault]]:
    """The first image that `document` names, however wrong the rest of it is."""
    name = document.get("image") if isinstance(document, dict) else None
    if not isinstance(name, str):
        return None, []
    found = uploads.in_project(session, project_id=project_id, names={name}).get(name)
    if found is not None and uploads.medium(found) == "image":
        return found, []
    detail = (
        f"There is no uploaded image {name[:100]!r} in this project. POST it to /v1/uploads."
        if found is None
        else f"The upload {name!r} is a video, not an image."
    )
    return None, [Fault(pointer="/image", code="unknown_image", detail=detail)]
