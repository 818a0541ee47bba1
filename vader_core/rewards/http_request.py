"""The body of a request to a reward endpoint: JSON and videos as the parts of one form.

Parts: `request` (application/json) and, by format, `frames` (one .npz file with the array `frames`,
uint8 of shape (B, F, H, W, 3)) or `video` (B .mp4 files in the videos' order).

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import JsonValue

from vader_core.video_files import as_bytes, write_mp4

Format = Literal["npz", "mp4"]


@dataclass(frozen=True)
class Body:
    """A request's bytes and what they are."""

    content: bytes
    media_type: str


@dataclass(frozen=True)
class _Part:
    name: str
    file: str
    media_type: str
    content: bytes


def written(
    told: Mapping[str, JsonValue], frames_BFCHW: torch.Tensor, *, form: Format, fps: int
) -> Body:
    """`told` and the videos as multipart/form-data."""
    parts = [_Part("request", "request.json", "application/json", json.dumps(told).encode())]
    if form == "npz":
        file = io.BytesIO()
        np.savez(file, frames=np.stack([as_bytes(frames_FCHW) for frames_FCHW in frames_BFCHW]))
        parts.append(_Part("frames", "frames.npz", "application/octet-stream", file.getvalue()))
    else:
        parts += _mp4_parts(frames_BFCHW, fps=fps)
    return _joined(parts)


def _mp4_parts(frames_BFCHW: torch.Tensor, *, fps: int) -> list[_Part]:
    parts: list[_Part] = []
    with tempfile.TemporaryDirectory() as folder:
        for index, frames_FCHW in enumerate(frames_BFCHW):
            path = Path(folder, f"video-{index}.mp4")
            write_mp4(path, frames_FCHW, fps=fps)
            parts.append(_Part("video", path.name, "video/mp4", path.read_bytes()))
    return parts


def _joined(parts: list[_Part]) -> Body:
    # A boundary must occur in no part: a digest of all of them does not.
    digest = hashlib.sha256(b"".join(part.content for part in parts)).hexdigest()
    lines: list[bytes] = []
    for part in parts:
        head = (
            f'--{digest}\r\nContent-Disposition: form-data; name="{part.name}"; '
            f'filename="{part.file}"\r\nContent-Type: {part.media_type}\r\n\r\n'
        )
        lines += [head.encode(), part.content, b"\r\n"]
    lines.append(f"--{digest}--\r\n".encode())
    return Body(b"".join(lines), f"multipart/form-data; boundary={digest}")
