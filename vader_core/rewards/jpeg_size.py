"""How many bytes frames take as JPEG files: compressibility as it is, without a gradient.

The compressibility task of DDPO (arXiv 2305.13301, section 5.1), which compresses with quality 95. The
frames are rounded to 8 bits as files have them. `prefer` turns the sign: smooth, plain pictures make
small files, and pictures full of detail large ones.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from pydantic import JsonValue

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.spec import Prompt
from vader_core.video_files import as_bytes

_QUALITY = 95


class JpegSize:
    """Bytes per pixel of a frame's JPEG file, or minus that, mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del compute
        self.row = row
        self._quality = int(str(params.get("quality", _QUALITY)))
        self._sign = 1 if params.get("prefer") == "larger" else -1

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,), without a gradient; the prompts do not matter."""
        del prompts
        height, width = frames_BFCHW.shape[-2:]
        bytes_BF = [[self._size(image) for image in as_bytes(video)] for video in frames_BFCHW]
        score_BF = frames_BFCHW.new_tensor(bytes_BF) / (height * width)
        return self._sign * score_BF.mean(1)

    def _size(self, image_HWC: np.ndarray) -> int:
        file = io.BytesIO()
        Image.fromarray(image_HWC).save(file, format="JPEG", quality=self._quality)
        return file.tell()
