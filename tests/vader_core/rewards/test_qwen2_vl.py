from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.small_judges import MERGE, PATCH, TEMPORAL, processor, resized
from vader_core.rewards.qwen2_vl import Patcher, fitted


def patcher(smallest: int = 256, largest: int = 1024) -> Patcher:
    own = processor()
    mean, std = tuple(own.image_mean), tuple(own.image_std)
    return Patcher(PATCH, MERGE, TEMPORAL, mean, std, min_pixels=smallest, max_pixels=largest)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        # By hand: 480x832 within 200704 at multiples of 28, 448x448 exactly full, and too small.
        (480, 832, (336, 588)),
        (448, 448, (448, 448)),
        (100, 50, (448, 224)),
    ],
)
def test_sizes_are_within_the_bounds(height: int, width: int, expected: tuple[int, int]) -> None:
    smallest = 100352
    found = fitted(height, width, factor=28, min_pixels=smallest, max_pixels=200704)
    assert found == expected
    assert smallest <= found[0] * found[1] <= 200704


def test_elongated_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="200 times"):
        fitted(4000, 10, factor=28, min_pixels=1, max_pixels=10**9)


@pytest.mark.parametrize("size", [(40, 64), (30, 21), (16, 16), (9, 13)])
def test_patches_of_images_are_those_of_the_image_processor(size: tuple[int, int]) -> None:
    frames = checks.videos(*size)
    patches, grid = patcher()(frames.flatten(0, 1)[:, None])
    edges = (grid[1] * PATCH, grid[2] * PATCH)
    images = [Image.fromarray(resized(image, edges)) for image in checks.images(frames)]
    own = processor()(images=images, return_tensors="pt")
    assert own["image_grid_thw"].tolist() == [list(grid)] * 6
    # Half an 8-bit level, over the smallest deviation; a little more where both axes were rounded.
    assert (patches - own["pixel_values"]).abs().max() < 1.5 / 255 / 0.26


def test_patches_of_videos_follow_each_other_in_the_processors_order() -> None:
    """Pixel by pixel: block of rows, block of columns, then the rows and columns within."""
    frames = checks.videos(16, 24)[:, :3]
    patches, grid = patcher(256, 16 * 24)(frames)
    assert grid == (2, 4, 6)
    mean, std = (np.array(one).reshape(3, 1, 1) for one in (patcher().mean, patcher().std))
    own = [(np.concatenate([video, video[-1:]]) - mean) / std for video in frames.numpy()]
    expected = [
        video[2 * t : 2 * t + 2, :, PATCH * y : PATCH * y + PATCH, PATCH * x : PATCH * x + PATCH]
        .transpose(1, 0, 2, 3)
        .ravel()
        for video in own
        for t in range(2)
        for y0 in range(0, 4, MERGE)
        for x0 in range(0, 6, MERGE)
        for y in (y0, y0 + 1)
        for x in (x0, x0 + 1)
    ]
    assert torch.allclose(patches, torch.from_numpy(np.stack(expected)))
