"""Uploads: images and videos that a project brought."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.links import Link
from api.schemas.shared import At, Page, Shape
from domain import ids, uploads
from domain.upload_table import Upload


class UploadSummary(Shape):
    """An uploaded image or video. Its `id` is what a prompt's `image` and a scoring's videos name."""

    id: str
    object: Literal["upload"] = "upload"
    name: str
    medium: Literal["image", "video"]
    content_type: str
    size_bytes: int
    sha256: str
    created_at: At

    @staticmethod
    def of(row: Upload) -> UploadSummary:
        return UploadSummary.model_validate(_fields(row))


class UploadShape(UploadSummary):
    """An upload with a link to its bytes."""

    url: str = Field(description="The file; needs no API key, works until `url_expires_at`.")
    url_expires_at: At

    @staticmethod
    def linked(row: Upload, link: Link) -> UploadShape:
        where = {"url": link.url, "url_expires_at": link.expires_at}
        return UploadShape.model_validate({**_fields(row), **where})


class UploadPage(Page[UploadSummary]):
    """Uploads, newest first."""


def _fields(row: Upload) -> dict[str, object]:
    same = ("name", "content_type", "size_bytes", "sha256", "created_at")
    return {
        "id": ids.to_public("upl", row.id),
        "medium": uploads.medium(row),
        **{name: getattr(row, name) for name in same},
    }
