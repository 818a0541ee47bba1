"""What the adapters' videos look like: the same held-out prompts and noise by every method, in one picture.

Letters: F frames, C = 3 channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

# In the folder of a training: its adapter's videos, and the base model's own.
ADAPTER_STRIP, BASE_STRIP = "adapter_strip.png", "base_strip.png"
SHOWN_VIDEOS = 4
_PIXELS = 64
_GAP, _LABEL, _LINE = 12, 130, 15
_INK, _PAPER = (24, 24, 27), (255, 255, 255)


def write_strip(path: Path, videos: Sequence[torch.Tensor]) -> None:
    """The first, middle and last frame of each video (F, C, H, W) in [0, 1], side by side."""
    width = 3 * _PIXELS
    strip = Image.new("RGB", (len(videos) * (width + _GAP), _PIXELS), _PAPER)
    for number, frames_FCHW in enumerate(videos):
        for place, index in enumerate((0, len(frames_FCHW) // 2, -1)):
            pixels_HWC = (frames_FCHW[index].clamp(0, 1) * 255).byte().permute(1, 2, 0)
            picture = Image.fromarray(pixels_HWC.numpy()).resize((_PIXELS, _PIXELS))
            strip.paste(picture, (number * (width + _GAP) + place * _PIXELS, 0))
    strip.save(path, optimize=True)


def write_sheet(path: Path, rows: Sequence[tuple[str, Path]], captions: Sequence[str]) -> None:
    """The strips under each other, with their labels; `captions` stand above the videos."""
    strips = [(label, Image.open(file)) for label, file in rows]
    width = _LABEL + max(strip.width for _, strip in strips)
    height = 2 * _LINE + len(strips) * (_PIXELS + _GAP // 2)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE - 3)
    for number, caption in enumerate(captions):
        place = _LABEL + number * (3 * _PIXELS + _GAP)
        draw.text((place, _LINE // 2), caption, font=font, fill=_INK)
    for number, (label, strip) in enumerate(strips):
        top = 2 * _LINE + number * (_PIXELS + _GAP // 2)
        draw.text((4, top + _PIXELS // 2 - _LINE // 2), label, font=font, fill=_INK)
        sheet.paste(strip, (_LABEL, top))
    sheet.save(path, optimize=True)
