"""Reading video files that strangers made: frames within limits, or one error that says what is wrong.

Letters: F frames, H and W pixels, C = 3 channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

# A frame of 4096 x 2304 pixels, and what 200 frames of 1280 x 768 have together: 600 MB as bytes.
MAX_FRAME_PIXELS = 4096 * 2304
MAX_FRAMES = 1000
MAX_PIXELS = 200 * 1280 * 768
# Files may not make the reader open others, nor be lists of addresses.
_SAFE = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", "protocol_whitelist": "file"}


class VideoUnusable(Exception):
    """A file gives no frames to score; `code` is unreadable or too_large."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


def read_video(path: Path) -> np.ndarray:
    """All frames as RGB bytes of shape (F, H, W, C). Raises `VideoUnusable`."""
    try:
        with av.open(str(path), options=_SAFE) as container:
            if not container.streams.video:
                raise VideoUnusable("unreadable", "The file has no video in it.")
            stream = container.streams.video[0]
            # Decoding must not take the cores that the caller was not given.
            stream.codec_context.thread_count = 1
            frames = _decoded(container, stream)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoUnusable("unreadable", f"The video cannot be read: {error}") from error
    if not frames:
        raise VideoUnusable("unreadable", "The video has no frames.")
    return np.stack(frames)


def _decoded(container: Any, stream: Any) -> list[np.ndarray]:
    frames: list[np.ndarray] = []
    pixels = 0
    for frame in container.decode(stream):
        size = frame.width * frame.height
        pixels += size
        if size > MAX_FRAME_PIXELS or len(frames) == MAX_FRAMES or pixels > MAX_PIXELS:
            raise VideoUnusable(
                "too_large",
                f"A video may have {MAX_FRAMES} frames of {MAX_FRAME_PIXELS} pixels and "
                f"{MAX_PIXELS} pixels in all frames together; this has frames of "
                f"{frame.width} x {frame.height}.",
            )
        picture = frame.to_ndarray(format="rgb24")
        if frames and picture.shape != frames[0].shape:
            raise VideoUnusable("unreadable", "The video's frames differ in size.")
        frames.append(picture)
    return frames
