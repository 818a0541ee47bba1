from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.black_box import PROMPTS
from vader_core import rewards
from vader_core.catalogue import BUILT_IN
from vader_core.spec import Guard


def jpeg_size(**params: int | str) -> rewards.Reward:
    row = BUILT_IN.rewards["jpeg-size"]
    return rewards.load(Guard(reward=row.id, params=dict(params)), row, checks.compute())


def test_score_is_the_size_of_the_8_bit_frames_files_per_pixel() -> None:
    frames = checks.videos(16, 24)
    sizes = []
    for image in checks.images(frames):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="JPEG", quality=80)
        sizes.append(len(file.getvalue()))
    expected = np.array(sizes).reshape(2, 3).mean(1) / (16 * 24)
    larger = jpeg_size(quality=80, prefer="larger").score(frames, PROMPTS)
    smaller = jpeg_size(quality=80).score(frames, PROMPTS)
    assert larger.tolist() == pytest.approx(expected)
    assert smaller.tolist() == pytest.approx(-expected)


def test_plain_frames_are_more_compressible_than_noise() -> None:
    noise = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = torch.full_like(noise, 0.5)
    assert (jpeg_size().score(plain, PROMPTS) > jpeg_size().score(noise, PROMPTS)).all()


def test_values_outside_the_range_are_cut_off_as_files_do() -> None:
    frames = checks.videos(16, 16) * 3 - 1
    wild = jpeg_size().score(frames, PROMPTS)
    assert torch.equal(wild, jpeg_size().score(frames.clamp(0, 1), PROMPTS))


def test_score_is_that_of_the_video_alone() -> None:
    checks.assert_score_is_of_the_video_alone(jpeg_size(), checks.videos(16, 24))
