from __future__ import annotations

import pytest
import torch
from transformers import VideoMAEForVideoClassification
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from tests.vader_core.tiny_models import compute, reward
from vader_core.catalogue import BUILT_IN
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.action import Action
from vader_core.spec import Prompt
from vader_core.tiny import world

ROW = BUILT_IN.rewards["tiny-action"]
PROMPTS = [Prompt(prompt=f"a red circle {target}", target=target) for target in ROW.targets]


def clips(frames: int, size: int) -> torch.Tensor:
    """8-bit clips (4, F, 3, H, W): a soft blob that moves, one clip for each prompt."""
    place = torch.linspace(-1, 1, size)
    time = torch.linspace(-0.5, 0.5, frames)
    ways = torch.tensor([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
    x, y = (ways[:, None, axis, None] * time[None, :, None] for axis in (0, 1))
    blob = torch.exp(-8 * (place - x)[:, :, None, :] ** 2 - 8 * (place - y)[:, :, :, None] ** 2)
    colour = torch.tensor([1.0, 0.3, 0.1]).view(3, 1, 1)
    return (blob[:, :, None] * colour * 255).round().to(torch.uint8)


@pytest.mark.parametrize(("frames", "size"), [(8, 32), (8, 48), (9, 32)])
def test_score_is_that_of_the_models_own_processor(frames: int, size: int) -> None:
    videos = clips(frames, size)
    processor = VideoMAEImageProcessorPil.from_pretrained(ROW.folder)
    model = VideoMAEForVideoClassification.from_pretrained(ROW.folder).eval()
    chosen = torch.linspace(0, frames - 1, 8).round().long()
    lists = [list(video[chosen].permute(0, 2, 3, 1).numpy()) for video in videos]
    with torch.no_grad():
        logits = model(**processor(lists, return_tensors="pt")).logits
        found = reward("tiny-action", torch.float32).score(videos / 255, PROMPTS)
    expected = logits.softmax(-1).diagonal()
    assert [model.config.id2label[i] for i in range(4)] == [p.target for p in PROMPTS]
    assert (found - expected).abs().max() < 1e-3


def test_gradient_is_that_of_the_score() -> None:
    action = reward("tiny-action")
    frames = (clips(8, 32) / 255).double()
    direction = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)).double()
    leaf = frames.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(action.score(leaf, PROMPTS).sum(), leaf)
    step = 1e-5
    with torch.no_grad():
        rise = action.score(frames + step * direction, PROMPTS).sum()
        fall = action.score(frames - step * direction, PROMPTS).sum()
    assert float((gradient * direction).sum()) == pytest.approx(
        float((rise - fall) / (2 * step)), rel=1e-5
    )


def test_unknown_target_is_named_with_the_known_ones() -> None:
    prompts = [Prompt(prompt="a dog", target="barking")] * 4
    with pytest.raises(ValueError, match=r"moving down.*'barking'"):
        reward("tiny-action").score(clips(8, 32) / 255, prompts)


def test_a_single_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 frames"):
        reward("tiny-action").score(clips(1, 32) / 255, PROMPTS)


def test_row_whose_labels_the_classifier_does_not_know_is_refused() -> None:
    row = ROW.model_copy(update={"targets": [*world.ACTION_LABELS, "riding a bike"]})
    with pytest.raises(WeightsUnreadable, match="riding a bike") as caught:
        Action(row, compute())
    assert "moving left" in caught.value.hint


def test_row_without_a_folder_is_refused() -> None:
    with pytest.raises(WeightsUnreadable, match="no weight folder"):
        Action(ROW.model_copy(update={"folder": None}), compute())
