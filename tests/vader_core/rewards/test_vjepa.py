from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import VJEPA2Config, VJEPA2Model

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.small_detectors import stirred
from vader_core.catalogue import TINY_WEIGHTS
from vader_core.errors import CatalogueUnusable, WeightsUnreadable
from vader_core.rewards import vjepa
from vader_core.rewards.vjepa import VJepa
from vader_core.tiny import world

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
PROCESSOR = {
    "size": {"shortest_edge": 36},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "resample": 2,
    "image_mean": MEAN.tolist(),
    "image_std": STD.tolist(),
}
GRID = (2, 4, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vjepa")
    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=32,
        patch_size=8,
        frames_per_clip=4,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        mlp_ratio=2,
        pred_hidden_size=16,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=2,
        pred_mlp_ratio=2,
        pred_num_mask_tokens=2,
        attn_implementation="sdpa",
    )
    stirred(VJEPA2Model(config)).save_pretrained(folder)
    (folder / "video_preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def scorer(folder: Path, masks: str = "blocks", dtype: torch.dtype = torch.float64) -> VJepa:
    return VJepa(checks.row(folder, masks=masks), {}, checks.compute(dtype))


def model_of(folder: Path) -> VJEPA2Model:
    return VJEPA2Model.from_pretrained(folder, dtype=torch.float64).eval()


def pillow_pixels(images: list[Any]) -> torch.Tensor:
    """The published recipe: shorter edge to 36 by Pillow's bilinear filter, centre 32x32, normalised."""
    made = []
    for pixels in images:
        image = Image.fromarray(pixels)
        scale = 36 / min(image.size)
        image = image.resize([int(edge * scale) for edge in image.size], Image.Resampling.BILINEAR)
        left, top = ((edge - 32) // 2 for edge in image.size)
        array = np.asarray(image.crop((left, top, left + 32, top + 32))) / 255
        made.append(torch.from_numpy((array - MEAN) / STD).permute(2, 0, 1))
    return torch.stack(made)


def plain_loss(model: VJEPA2Model, clip_BFCHW: torch.Tensor, masks: vjepa.Masks) -> np.ndarray:
    """The training loss by transformers' own predictor, which reads the context out of a full sequence.

    Its forward always takes the mask token 1, so that this one is set to the token 0.
    """
    tokens = model.predictor.embeddings.mask_tokens
    tokens.data[1] = tokens.data[0]
    features = model.encoder(clip_BFCHW).last_hidden_state.numpy()
    losses = []
    for visible, hidden in masks:
        seen = model.encoder.embeddings(clip_BFCHW)[:, visible]
        places = visible.expand(len(seen), -1)
        for layer in model.encoder.layer:
            seen = layer(seen, places)[0]
        sequence = torch.zeros(features.shape, dtype=torch.float64)
        sequence[:, visible] = model.encoder.layernorm(seen)
        asked = hidden.expand(len(seen), -1)
        guessed = model.predictor(sequence, [places], [asked]).last_hidden_state.numpy()
        wanted = features[:, hidden.numpy()]
        spread = np.sqrt(wanted.var(-1, keepdims=True) + 1e-5)
        wanted = (wanted - wanted.mean(-1, keepdims=True)) / spread
        losses.append(np.abs(guessed - wanted).mean((1, 2)))
    return np.mean(losses, axis=0)


@pytest.mark.parametrize("masks", ["blocks", "moments"])
@pytest.mark.parametrize(("height", "width"), [(36, 36), (48, 80), (90, 40)])
def test_score_is_minus_the_published_loss_on_frames_prepared_by_pillow(
    folder: Path, masks: str, height: int, width: int
) -> None:
    frames = checks.videos(height, width)
    clip = torch.unflatten(pillow_pixels(checks.images(frames)), 0, (2, 3))
    clip = torch.cat([clip, clip[:, -1:]], dim=1)
    reward = scorer(folder, masks)
    with torch.no_grad():
        expected = -plain_loss(model_of(folder), clip, reward._masks(GRID))
        found = reward.score(frames, checks.PROMPTS).numpy()
    assert (found < 0).all()
    assert np.abs(found - expected).max() < 1e-3


def test_encoder_that_sees_all_tokens_is_the_models_own(folder: Path) -> None:
    model, clip = model_of(folder), torch.randn(2, 4, 3, 32, 32).double()
    with torch.no_grad():
        own = model.encoder(clip).last_hidden_state
        assert torch.allclose(vjepa.encode(model, clip), own)
        assert torch.allclose(vjepa.encode(model, clip, torch.arange(32)), own)


def test_hidden_tokens_do_not_reach_the_context(folder: Path) -> None:
    model, clip = model_of(folder), torch.randn(1, 4, 3, 32, 32).double()
    visible, _ = vjepa.moment_masks(GRID)[1]
    changed = clip.clone()
    changed[:, 2:] = 0
    with torch.no_grad():
        context = vjepa.encode(model, clip, visible)
        assert torch.equal(vjepa.encode(model, changed, visible), context)


@pytest.mark.parametrize("masks", ["blocks", "moments"])
def test_gradient_at_pixels_is_right(folder: Path, masks: str) -> None:
    checks.assert_gradient_is_right(scorer(folder, masks), checks.videos())


def test_score_of_a_video_does_not_depend_on_its_neighbours_and_is_repeatable(folder: Path) -> None:
    reward, frames = scorer(folder), checks.videos()
    together = reward.score(frames, checks.PROMPTS)
    alone = [reward.score(frames[i : i + 1], checks.PROMPTS[i : i + 1]) for i in range(2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12)
    assert torch.equal(scorer(folder).score(frames, checks.PROMPTS), together)


def test_long_videos_are_scored_in_windows_that_show_every_frame(folder: Path) -> None:
    reward = scorer(folder)
    frames = torch.rand(1, 9, 3, 36, 36, generator=torch.Generator().manual_seed(0)).double()
    windows = [frames[:, start : start + 4] for start in (0, 2, 5)]
    expected = torch.stack([reward.score(part, checks.PROMPTS[:1]) for part in windows]).mean(0)
    leaf = frames.clone().requires_grad_()
    found = reward.score(leaf, checks.PROMPTS[:1])
    assert torch.allclose(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    assert gradient.flatten(2).abs().amax(2).min() > 0


def test_block_masks_split_the_grid_into_tubes(folder: Path) -> None:
    masks = scorer(folder)._masks((4, 8, 8))
    assert len(masks) == 4
    for visible, hidden in masks:
        assert sorted(torch.cat([visible, hidden]).tolist()) == list(range(256))
        assert len(visible) > 0
        assert torch.equal(hidden.view(4, -1) % 64, (hidden.view(4, -1) % 64)[:1].expand(4, -1))
    shares = [len(hidden) / 256 for _, hidden in masks]
    assert min(shares) > 0.3
    assert max(shares) > 0.7


def test_moment_masks_hide_every_moment_once() -> None:
    for duration, expected in ((2, 2), (4, 4), (32, 4)):
        masks = vjepa.moment_masks((duration, 2, 2))
        assert len(masks) == expected
        hidden = torch.cat([hidden for _, hidden in masks])
        assert hidden.tolist() == list(range(4 * duration))


def test_what_cannot_be_masked_is_refused() -> None:
    with pytest.raises(ValueError, match="1x1"):
        vjepa.block_masks((2, 1, 1), torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="one moment"):
        vjepa.moment_masks((1, 4, 4))


def test_param_goes_before_the_rows_masks_and_unknown_masks_are_refused(folder: Path) -> None:
    row = checks.row(folder, masks="blocks")
    reward = VJepa(row, {"masks": "moments"}, checks.compute())
    assert reward._masks(GRID)[0][1].tolist() == vjepa.moment_masks(GRID)[0][1].tolist()
    with pytest.raises(CatalogueUnusable, match="'frames'") as caught:
        scorer(folder, "frames")
    assert "moments" in caught.value.hint


def test_a_single_frame_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 frames"):
        scorer(folder).score(checks.videos()[:, :1], checks.PROMPTS)


def test_preprocessing_to_another_size_than_the_models_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    wrong = {**PROCESSOR, "crop_size": {"height": 24, "width": 24}}
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(wrong))
    with pytest.raises(WeightsUnreadable, match="32x32"):
        scorer(tmp_path)


def test_layers_of_the_frozen_model_are_computed_again_instead_of_kept(folder: Path) -> None:
    """The graph holds each layer's input and not, say, its queries, keys and values."""
    reward, clip = scorer(folder), torch.randn(1, 4, 3, 32, 32).double().requires_grad_()
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (kept.append(tensor.shape), tensor)[1], lambda tensor: tensor
    ):
        vjepa.encode(reward._model, clip)
        frozen = len(kept)
        reward._model.requires_grad_(requires_grad=True)
        vjepa.encode(reward._model, clip)
    assert frozen < (len(kept) - frozen) / 2


def test_smooth_motion_scores_above_the_same_frames_out_of_order() -> None:
    """The tiny world's trained predictor."""
    generator = torch.Generator().manual_seed(0)
    frames = world.draw_batch(24, generator=generator).frames_BFCHW
    scrambled = frames[:, [0, 4, 1, 5, 2, 6, 3, 7]]
    reward = scorer(TINY_WEIGHTS / "tiny-vjepa", "moments", torch.float32)
    with torch.no_grad():
        better = reward.score(frames, []) > reward.score(scrambled, [])
    assert float(better.float().mean()) > 0.8
