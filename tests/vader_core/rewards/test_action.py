from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    VideoMAEForVideoClassification,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
)
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.small_detectors import stirred
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
        Action(row, {}, compute())
    assert "moving left" in caught.value.hint


def test_row_without_a_folder_is_refused() -> None:
    with pytest.raises(WeightsUnreadable, match="no weight folder"):
        Action(ROW.model_copy(update={"folder": None}), {}, compute())


@pytest.fixture
def vjepa_classifier(tmp_path: Path) -> VJEPA2ForVideoClassification:
    """A small V-JEPA 2 classifier and its folder's files, as published for Something-Something v2."""
    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=32,
        patch_size=8,
        frames_per_clip=4,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=1,
        mlp_ratio=2,
        num_pooler_layers=1,
        pred_hidden_size=16,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        id2label={0: "Pushing [something]", 1: "Lifting [something]"},
    )
    model = stirred(VJEPA2ForVideoClassification(config))
    model.save_pretrained(tmp_path)
    processor = {
        "size": {"shortest_edge": 36},
        "crop_size": 32,
        "do_center_crop": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(processor))
    return model


TARGETS = [
    Prompt(prompt="a hand pushes a cup", target="Pushing [something]"),
    Prompt(prompt="a hand lifts a cup", target="Lifting [something]"),
]


def test_vjepa_classifier_scores_as_on_frames_prepared_by_pillow(
    vjepa_classifier: VJEPA2ForVideoClassification, tmp_path: Path
) -> None:
    frames = checks.videos(48, 60)[:, [0, 1, 2, 2]]
    prepared = []
    for pixels in checks.images(frames):
        image = Image.fromarray(pixels).resize((45, 36), Image.Resampling.BILINEAR)
        array = np.asarray(image.crop((6, 2, 38, 34))) / 255
        array = (array - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        prepared.append(torch.from_numpy(array).permute(2, 0, 1).float())
    pixels_BFCHW = torch.unflatten(torch.stack(prepared), 0, (2, 4))
    with torch.no_grad():
        expected = vjepa_classifier(pixels_BFCHW).logits.softmax(-1).diagonal()
        action = Action(checks.row(tmp_path), {}, compute(torch.float32))
        found = action.score(frames.float(), TARGETS)
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.usefixtures("vjepa_classifier")
def test_gradient_of_a_vjepa_classifier_is_that_of_the_score(tmp_path: Path) -> None:
    action = Action(checks.row(tmp_path), {}, compute())
    leaf = checks.videos().clamp(0.05, 0.95).requires_grad_()
    (gradient,) = torch.autograd.grad(action.score(leaf, TARGETS).sum(), leaf)
    drawn = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        rise = action.score(leaf + 1e-5 * drawn, TARGETS).sum()
        fall = action.score(leaf - 1e-5 * drawn, TARGETS).sum()
    assert float((gradient * drawn).sum()) == pytest.approx(float(rise - fall) / 2e-5, rel=1e-5)


@pytest.mark.usefixtures("vjepa_classifier")
def test_probability_of_a_video_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    action, frames = Action(checks.row(tmp_path), {}, compute()), checks.videos()
    alone = [action.score(frames[i : i + 1], TARGETS[i : i + 1]) for i in range(2)]
    assert torch.allclose(action.score(frames, TARGETS), torch.cat(alone), atol=1e-12)


def test_moving_the_way_the_target_says_scores_higher_than_the_other_way() -> None:
    videos = clips(8, 32) / 255
    right = reward("tiny-action").score(videos.double(), PROMPTS)
    wrong = reward("tiny-action").score(videos.flip(1).double(), PROMPTS)
    assert (right > wrong).all()


def test_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vivit"}))
    with pytest.raises(WeightsUnreadable, match="'vivit'"):
        Action(checks.row(tmp_path), {}, compute())
