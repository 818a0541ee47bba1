"""Sizes by name are those of the published table, in multiples of 8."""

from __future__ import annotations

import pytest

from vader_core.pipelines.open_sora.sizes import video_size


@pytest.mark.parametrize(
    ("resolution", "aspect_ratio", "published"),
    [
        ("240p", "9:16", (240, 426)),
        ("240p", "3:4", (276, 368)),
        ("240p", "3:8", (196, 522)),
        ("240p", "1:1", (320, 320)),
        ("360p", "16:9", (640, 360)),
        ("480p", "9:21", (420, 980)),
        ("480p", "9:16", (480, 854)),
        ("720p", "9:16", (720, 1280)),
        ("720p", "2:1", (1358, 680)),
        ("720p", "17:9", (1320, 698)),
    ],
)
def test_a_size_is_the_published_one_rounded_down(
    resolution: str, aspect_ratio: str, published: tuple[int, int]
) -> None:
    height, width = video_size(resolution, aspect_ratio)
    assert (height, width) == tuple(side // 8 * 8 for side in published)


@pytest.mark.parametrize("aspect_ratio", ["", "9", "9:", "0:3", "a:b", "9:16:2"])
def test_what_is_no_ratio_is_refused(aspect_ratio: str) -> None:
    with pytest.raises(ValueError, match="height:width"):
        video_size("240p", aspect_ratio)
