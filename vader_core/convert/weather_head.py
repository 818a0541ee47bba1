"""The rainy and the snowy head from their published state dicts: as `clip_head`, with a sigmoid at the end.

Source: rainy_reward.pt and snowy_reward.pt of github.com/mihirp1998/VADER (assets), whose class is in its
Core/weather_scorer.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vader_core.convert.clip_head import SOURCES as _HEADS
from vader_core.convert.clip_head import convert_with_output

SOURCES = {**_HEADS, "head": "rainy_reward.pt or snowy_reward.pt"}


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    convert_with_output(sources, out, output="sigmoid")
