"""Images and videos to upload: read whole, their media types told by their names."""

from __future__ import annotations

from pathlib import Path

from client.errors import FileUnusable

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}


def read_media(path: Path) -> tuple[bytes, str]:
    """The bytes and the media type of the file. Raises `FileUnusable`."""
    content_type = TYPES.get(path.suffix.lower())
    if content_type is None:
        raise FileUnusable(f"{path} cannot be uploaded: its name must end in {', '.join(TYPES)}.")
    try:
        return path.read_bytes(), content_type
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error}") from error
