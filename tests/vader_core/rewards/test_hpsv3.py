from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vader_core.rewards import checks, small_judges
from tests.vader_core.rewards.small_judges import SmallJudge, answer, resized, state
from vader_core.rewards.hpsv3 import DIMENSION, Hpsv3
from vader_core.rewards.qwen2_vl import JudgeConfig

ASKED = JudgeConfig(
    template="how good is {text_prompt} the clip <|Reward|> user",
    tokens={DIMENSION: "<|Reward|>"},
    min_pixels=1024,
    max_pixels=1024,
)


class Small(NamedTuple):
    folder: Path
    judge: SmallJudge


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("hpsv3")
    return Small(folder, small_judges.build(folder, ASKED, [24, 12, 6, 1]))


def reward(small: Small) -> Hpsv3:
    return Hpsv3(checks.row(small.folder), {}, checks.compute())


def published_score(small: Small, image: np.ndarray, prompt: str) -> float:
    """By Pillow, the image processor, transformers' forward and numpy."""
    picture = Image.fromarray(resized(image, (24, 40)))
    inputs = small_judges.processor()(images=[picture], return_tensors="pt")
    inputs["pixel_values"] = inputs["pixel_values"].double()
    chat = (
        "<|im_start|> user <|vision_start|><|image_pad|><|vision_end|>"
        f"how good is {prompt} the clip <|Reward|> user<|im_end|><|im_start|> assistant"
    )
    return answer(small.judge.heads[DIMENSION], state(small.judge, inputs, chat, "<|Reward|>"))


def test_scores_are_those_of_the_image_processor_on_8_bit_frames(small: Small) -> None:
    frames = checks.videos(40, 64)
    expected = [
        np.mean(
            [published_score(small, image, prompt.prompt) for image in checks.images(video[None])]
        )
        for video, prompt in zip(frames, checks.PROMPTS, strict=True)
    ]
    found = reward(small).score(frames, checks.PROMPTS)
    assert found.tolist() == pytest.approx(expected, abs=1e-3)
    assert abs(expected[0] - expected[1]) > 1e-2


def test_the_pixels_gradient_is_right(small: Small) -> None:
    """The classes compute norms and positions in float32: the step is longer than elsewhere."""
    frames = checks.videos(24, 40).clamp(0.05, 0.95)
    judged = reward(small)
    leaf = frames.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(judged.score(leaf, checks.PROMPTS).sum(), leaf)
    assert gradient.flatten(2).abs().amax(2).min() > 0
    along = gradient / gradient.norm()
    step = 0.05
    with torch.no_grad():
        rise = judged.score(frames + step * along, checks.PROMPTS).sum()
        fall = judged.score(frames - step * along, checks.PROMPTS).sum()
    assert float((rise - fall) / (2 * step)) == pytest.approx(float(gradient.norm()), rel=2e-3)


def test_a_frame_is_judged_alone(small: Small) -> None:
    """Neither the other videos of the batch nor the size of the chunks of frames matter."""
    frames = checks.videos(24, 40)
    together = reward(small).score(frames, checks.PROMPTS)
    alone = [reward(small).score(frames[i : i + 1], checks.PROMPTS[i : i + 1]) for i in range(2)]
    assert torch.allclose(together, torch.cat(alone), rtol=1e-6)
    chunks = [reward(small).score(frames[:, i : i + 1], checks.PROMPTS) for i in range(3)]
    assert torch.allclose(together, torch.stack(chunks).mean(0), rtol=1e-5, atol=1e-6)
