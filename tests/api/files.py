"""Small files to upload: what their first bytes say is all that the service looks at."""

from __future__ import annotations

from typing import Any

from tests.api.teams import new_key

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
JPEG = b"\xff\xd8\xff\xe0" + b"pixels"
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 "
MP4 = b"\x00\x00\x00\x20ftypisom" + b"frames"
WEBM = b"\x1aE\xdf\xa3" + b"frames"
BY_TYPE = {
    "image/png": PNG,
    "image/jpeg": JPEG,
    "image/webp": WEBP,
    "video/mp4": MP4,
    "video/webm": WEBM,
}


def post_file(client: Any, data: bytes = PNG, content_type: str = "image/png", **query: str) -> Any:
    """The answer to an upload."""
    headers = {**new_key(), "Content-Type": content_type}
    return client.post("/v1/uploads", content=data, headers=headers, params=query)


def upload(client: Any, data: bytes = PNG, content_type: str = "image/png") -> str:
    """The id of an upload."""
    answer = post_file(client, data, content_type)
    assert answer.is_success, answer.text
    public_id: str = answer.json()["id"]
    return public_id
