"""What an image processor does to 8-bit images, done to float frames so that gradients pass.

Letters: N images, C channels, H and W sizes, O output and I input pixels along one axis.

Resizing is the antialiased filter that Pillow and the image processors use, written as a matrix per
axis: products are differentiable, repeatable on every device and exact. The one difference from the
processors is that nothing is rounded to 8 bits in between.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import pad

# Pillow's resampling numbers, as preprocessor_config.json gives them.
_BILINEAR, _BICUBIC = 2, 3
_RADIUS = {_BILINEAR: 1.0, _BICUBIC: 2.0}


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop or pad, normalise.

    `size` is the shorter edge, or (height, width). `square` instead fits the longer edge into a square
    and pads the rest with black.
    """

    size: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    square: int | None = None

    @staticmethod
    def read(folder: Path, name: str = "preprocessor_config.json") -> Preprocessing:
        """Of the folder's file `name`. Raises `ValueError` for what is not handled."""
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        resample = config.get("resample", _BILINEAR)
        if resample not in _RADIUS:
            raise ValueError(f"resample {resample} is neither bilinear (2) nor bicubic (3)")
        normalises = config.get("do_normalize", True)
        square = _square(config)
        resizes = config.get("do_resize", True) and square is None
        return Preprocessing(
            size=_size(config["size"]) if resizes else None,
            crop=_crop(config) if config.get("do_center_crop", False) else None,
            resample=resample,
            mean=tuple(config["image_mean"]) if normalises else (0.0,),
            std=tuple(config["image_std"]) if normalises else (1.0,),
            square=square,
        )

    def stretched(self) -> Preprocessing:
        """The same, but every frame is stretched to the model's size: nothing is cut off or padded.

        Raises `ValueError` where no size is known.
        """
        size = self.crop or self.square or self.size
        if size is None:
            raise ValueError("without a size there is nothing to stretch to")
        edges = (size, size) if isinstance(size, int) else size
        return replace(self, size=edges, crop=None, square=None)

    def __call__(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        """Frames in [0, 1] to what the model was trained on."""
        if self.square is not None:
            frames_NCHW = self._fit(frames_NCHW, self.square)
        if self.size is not None:
            frames_NCHW = self._resize(frames_NCHW, self.size)
        if self.crop is not None:
            frames_NCHW = _centre_crop(frames_NCHW, self.crop)
        mean, std = (frames_NCHW.new_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return (frames_NCHW - mean) / std

    def _fit(self, frames_NCHW: torch.Tensor, square: int) -> torch.Tensor:
        scale = square / max(frames_NCHW.shape[-2:])
        height, width = (round(edge * scale) for edge in frames_NCHW.shape[-2:])
        top, left = (square - height) // 2, (square - width) // 2
        edges = (left, square - width - left, top, square - height - top)
        return pad(self._resize(frames_NCHW, (height, width)), edges)

    def _resize(self, frames_NCHW: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
        height, width = frames_NCHW.shape[-2:]
        if isinstance(size, int):
            shorter = min(height, width)
            size = (size * height // shorter, size * width // shorter)
        # Width first, unless the height shrinks more: as Pillow 13. A bicubic filter overshoots,
        # and 8-bit images cut that off after each axis.
        passes = [(-1, size[1]), (-2, size[0])]
        if size[0] < height and size[0] * width < height * size[1]:
            passes.reverse()
        for axis, new in passes:
            old = frames_NCHW.shape[axis]
            if new != old:
                matrix_OI = _filter(old, new, self.resample).to(frames_NCHW)
                resized = matrix_OI @ frames_NCHW.transpose(axis, -2)
                frames_NCHW = resized.transpose(axis, -2).clamp(0, 1)
        return frames_NCHW


@functools.cache
def _filter(old: int, new: int, resample: int) -> torch.Tensor:
    """The resampling matrix (O, I), float64: rows sum to 1."""
    scale = old / new
    stretch = max(scale, 1.0)
    centres_O1 = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * scale
    places_I = torch.arange(old, dtype=torch.float64) + 0.5
    distance_OI = ((places_I - centres_O1) / stretch).abs()
    weights_OI = _KERNELS[resample](distance_OI)
    weights_OI = torch.where(distance_OI < _RADIUS[resample], weights_OI, 0.0)
    return weights_OI / weights_OI.sum(1, keepdim=True)


def _triangle(distance: torch.Tensor) -> torch.Tensor:
    return 1 - distance


def _cubic(distance: torch.Tensor) -> torch.Tensor:
    """Keys' cubic with a = -1/2."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, far)


_KERNELS = {_BILINEAR: _triangle, _BICUBIC: _cubic}


def _centre_crop(frames_NCHW: torch.Tensor, crop: tuple[int, int]) -> torch.Tensor:
    height, width = frames_NCHW.shape[-2:]
    if height < crop[0] or width < crop[1]:
        raise ValueError(f"a crop of {crop} pixels does not fit in {height}x{width}")
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return frames_NCHW[..., top : top + crop[0], left : left + crop[1]]


def _square(config: dict[str, Any]) -> int | None:
    """The edge of the square that padding fills; `longest_edge` with `shortest_edge` is a bound."""
    size = config.get("size")
    if config.get("do_pad", False) and isinstance(size, dict) and set(size) == {"longest_edge"}:
        return int(size["longest_edge"])
    return None


def _crop(config: dict[str, Any]) -> tuple[int, int]:
    """Older files leave `crop_size` out where it is the shorter edge that `size` gives."""
    return _edges(config.get("crop_size", _size(config["size"])))


def _size(size: Any) -> int | tuple[int, int]:
    if isinstance(size, dict) and "shortest_edge" in size:
        return int(size["shortest_edge"])
    return int(size) if isinstance(size, int) else _edges(size)


def _edges(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return int(size["height"]), int(size["width"])
