"""Images, videos and prompts to upload: read whole, their media types told by their names."""

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


PROMPTS = {
    ".jsonl": "application/jsonl",
    ".ndjson": "application/x-ndjson",
    ".txt": "text/plain",
}


def read_prompts(path: Path) -> tuple[bytes, str]:
    """The bytes and the media type of a file of prompts. Raises `FileUnusable`."""
    return _read(path, PROMPTS)


def read_media(path: Path) -> tuple[bytes, str]:
    """The bytes and the media type of an image or video. Raises `FileUnusable`."""
    return _read(path, TYPES)


def _read(path: Path, types: dict[str, str]) -> tuple[bytes, str]:
    content_type = types.get(path.suffix.lower())
    if content_type is None:
        raise FileUnusable(f"{path} cannot be uploaded: its name must end in {', '.join(types)}.")
    try:
        return path.read_bytes(), content_type
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error}") from error
