"""Video sizes by the names that Open-Sora gives them: a resolution and an aspect ratio.

From hpcaitech/Open-Sora, tag v1.2.0, opensora/datasets/aspect.py: a resolution is a number of pixels,
and the sides of a ratio are even numbers near the root of their share of it. Where the published table
of 240p to 720p was made by that rule it is reproduced here, up to two things: the published table gives
the ratio 50:27 the sides of 2.08:1, and sides are rounded down to multiples of 8 here. The published
autoencoder cannot return the pixels beyond those either: a video of 426 x 240 comes out 424 wide.
"""

from __future__ import annotations

import math

PIXELS = {"240p": 102_240, "360p": 230_400, "480p": 409_920, "720p": 921_600}
_MULTIPLE = 8
# Keeps a side that is whole but for rounding errors from being rounded up.
_EPSILON = 1e-4


def video_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """(height, width) of `resolution` ("240p" to "720p") at `aspect_ratio`, which is "height:width".

    Raises `ValueError` for names that are neither.
    """
    if resolution not in PIXELS:
        raise ValueError(f"`resolution` is one of {', '.join(PIXELS)}, not {resolution!r}.")
    rows, colon, columns = aspect_ratio.partition(":")
    if not (colon and rows.isdigit() and columns.isdigit() and int(rows) and int(columns)):
        raise ValueError(f"`aspect_ratio` is height:width such as 9:16, not {aspect_ratio!r}.")
    ratio = int(rows) / int(columns)
    height = _even(math.sqrt(PIXELS[resolution] * ratio))
    width = _even(height / ratio)
    return height // _MULTIPLE * _MULTIPLE, width // _MULTIPLE * _MULTIPLE


def _even(side: float) -> int:
    """The even one of the two whole numbers around `side`."""
    above = math.ceil(side + _EPSILON)
    return above if above % 2 == 0 else math.floor(side + _EPSILON)
