"""Videos as files: mp4 that browsers play (H.264, yuv420p), and strips of frames as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from vader_core.files import publish, write_whole

# Players show smaller pictures badly or not at all; enlarged by whole factors, pixels stay crisp.
_SHOWN_PIXELS = 128
_STRIP_GAP = 4
# Nearly lossless: samples are evidence.
_H264 = {"crf": "16", "preset": "medium"}


def write_mp4(path: Path, frames_FCHW: torch.Tensor, *, fps: int) -> None:
    """Writes `path`. `frames_FCHW` are RGB in [0, 1]; small ones are enlarged, odd sizes padded by a
    repeated last row or column, since yuv420p halves both."""
    pictures_FHWC = even_sized(enlarged(as_bytes(frames_FCHW)))
    _, height, width, _ = pictures_FHWC.shape
    staged = path.with_name(f"tmp-{path.name}")
    with av.open(str(staged), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=_H264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # One thread: the same video gives the same file on every machine.
        stream.codec_context.thread_count = 1
        for picture in pictures_FHWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    publish(staged, path)


def write_strip(path: Path, frames_FCHW: torch.Tensor, *, pictures: int) -> None:
    """Writes at most `pictures` frames, evenly chosen, side by side as a PNG."""
    frames_FHWC = as_bytes(frames_FCHW)
    shown = min(pictures, len(frames_FHWC))
    chosen = np.linspace(0, len(frames_FHWC) - 1, shown).round().astype(int)
    shown_FHWC = enlarged(frames_FHWC[chosen])
    gap = ((0, 0), (0, 0), (0, _STRIP_GAP), (0, 0))
    row_HWC = np.concatenate(list(np.pad(shown_FHWC, gap, constant_values=255)), axis=1)
    target = io.BytesIO()
    Image.fromarray(row_HWC).save(target, format="PNG")
    write_whole(path, target.getvalue())


def as_bytes(frames_FCHW: torch.Tensor) -> np.ndarray:
    """RGB in [0, 1] as uint8 of shape (F, H, W, C)."""
    frames_FHWC = frames_FCHW.detach().float().cpu().clamp(0, 1).mul(255).round()
    return frames_FHWC.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def enlarged(frames_FHWC: np.ndarray) -> np.ndarray:
    """Repeats pixels until the shorter side has at least 128."""
    factor = -(-_SHOWN_PIXELS // min(frames_FHWC.shape[1:3]))
    return frames_FHWC.repeat(factor, axis=1).repeat(factor, axis=2)


def even_sized(frames_FHWC: np.ndarray) -> np.ndarray:
    _, height, width, _ = frames_FHWC.shape
    return np.pad(frames_FHWC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
