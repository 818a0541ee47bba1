from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity
from transformers import CLIPTokenizer

from tests.vader_core.rewards import checks, small_video_text
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.video_text import VideoText

SIZES = [(32, 32), (40, 64), (90, 48)]
TEXTS = [prompt.prompt for prompt in checks.PROMPTS]


@pytest.fixture(scope="module", params=["xclip", "viclip"])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(kind, model, folder)."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, getattr(small_video_text, request.param)(folder), folder


def scorer(folder: Path, dtype: torch.dtype = torch.float64) -> VideoText:
    return VideoText(checks.row(folder), {}, checks.compute(dtype))


def published_xclip_score(model: Any, folder: Path, images: list[Any]) -> torch.Tensor:
    """Its own forward on all texts at once: the logits of matching pairs, without their scale."""
    lists = [images[0:3], images[3:6]]
    pixels = small_video_text.xclip_processor()(lists, return_tensors="pt")
    tokens = CLIPTokenizer.from_pretrained(folder)(
        TEXTS, padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(**pixels, **tokens).logits_per_video
    return logits.diagonal() / model.logit_scale.exp()


def plain_viclip_score(model: Any, folder: Path, images: list[Any]) -> torch.Tensor:
    """ViCLIP from the paper: every frame stretched to 32x32 by Pillow, one attention over all patches."""
    resized = [Image.fromarray(i).resize((32, 32), Image.Resampling.BICUBIC) for i in images]
    pixels = (np.stack(resized) / 255 - small_video_text.MEAN) / small_video_text.STD
    weights = {name: value.double() for name, value in model.state_dict().items()}
    vision = {name[15:]: v for name, v in weights.items() if name.startswith("vision_encoder.")}
    text = {name[13:]: v for name, v in weights.items() if name.startswith("text_encoder.")}
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    scores = []
    for video, prompt in zip(pixels.reshape(2, 3, 32, 32, 3), TEXTS, strict=True):
        ids = torch.tensor(tokenizer(prompt)["input_ids"])
        seen = plain_video(vision, torch.from_numpy(video))
        scores.append(cosine_similarity(seen, plain_text(text, ids), dim=0))
    return torch.stack(scores)


def plain_video(weights: dict[str, torch.Tensor], video: torch.Tensor) -> torch.Tensor:
    kernel = weights["conv1.weight"][:, :, 0].flatten(1)
    tokens = [weights["class_embedding"] + weights["positional_embedding"][0]]
    for patch, (top, left) in enumerate([(0, 0), (0, 16), (16, 0), (16, 16)]):
        for moment, frame in enumerate(video):
            pixels = frame[top : top + 16, left : left + 16].permute(2, 0, 1).flatten()
            place = weights["positional_embedding"][patch + 1]
            time = weights["temporal_positional_embedding"][0, moment]
            tokens.append(kernel @ pixels + place + time)
    states = plain_norm(weights, "ln_pre", torch.stack(tokens))
    for layer in range(2):
        states = plain_block(weights, f"transformer.resblocks.{layer}.", states, causal=False)
    return plain_norm(weights, "ln_post", states[0]) @ weights["proj"]


def plain_text(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """As published: padded with zeros to the whole context, read at the end token."""
    padded = torch.zeros(16, dtype=torch.long)
    padded[: len(ids)] = ids
    states = weights["token_embedding.weight"][padded] + weights["positional_embedding"]
    for layer in range(2):
        states = plain_block(weights, f"transformer.resblocks.{layer}.", states, causal=True)
    return plain_norm(weights, "ln_final", states[len(ids) - 1]) @ weights["text_projection"]


def plain_norm(weights: dict[str, torch.Tensor], name: str, states: torch.Tensor) -> torch.Tensor:
    centred = states - states.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def plain_block(
    weights: dict[str, torch.Tensor], prefix: str, states: torch.Tensor, *, causal: bool
) -> torch.Tensor:
    own = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
    normed = plain_norm(own, "ln_1", states)
    query, key, value = (normed @ own["attn.in_proj_weight"].T + own["attn.in_proj_bias"]).split(
        16, dim=-1
    )
    heads = []
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        logits = query[:, part] @ key[:, part].T / 8**0.5
        if causal:
            logits = logits + torch.full_like(logits, -torch.inf).triu(1)
        heads.append(logits.softmax(-1) @ value[:, part])
    attended = torch.cat(heads, dim=-1)
    states = states + attended @ own["attn.out_proj.weight"].T + own["attn.out_proj.bias"]
    inner = plain_norm(own, "ln_2", states) @ own["mlp.c_fc.weight"].T + own["mlp.c_fc.bias"]
    inner = inner / (1 + torch.exp(-1.702 * inner))
    return states + inner @ own["mlp.c_proj.weight"].T + own["mlp.c_proj.bias"]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_score_is_that_of_the_published_model_and_preprocessing(
    embedder: Any, height: int, width: int
) -> None:
    kind, model, folder = embedder
    frames = checks.videos(height, width)
    compare = published_xclip_score if kind == "xclip" else plain_viclip_score
    expected = compare(model, folder, checks.images(frames))
    found = scorer(folder, torch.float32).score(frames.float(), checks.PROMPTS)
    assert (found - expected).abs().max() < 1e-3
    assert found.abs().max() <= 1


def test_gradient_at_pixels_is_right(embedder: Any) -> None:
    checks.assert_gradient_is_right(scorer(embedder[2]), checks.videos())


def test_score_of_a_video_depends_neither_on_its_neighbours_nor_on_other_prompts(
    embedder: Any,
) -> None:
    reward, frames = scorer(embedder[2]), checks.videos()
    together = reward.score(frames, checks.PROMPTS)
    alone = [reward.score(frames[i : i + 1], checks.PROMPTS[i : i + 1]) for i in range(2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12)
    swapped = reward.score(frames, checks.PROMPTS[::-1])
    assert not torch.allclose(together, swapped)


def test_order_of_the_frames_matters(embedder: Any) -> None:
    reward, frames = scorer(embedder[2]), checks.videos()
    backwards = reward.score(frames.flip(1), checks.PROMPTS)
    assert not torch.allclose(reward.score(frames, checks.PROMPTS), backwards)


def test_long_videos_are_seen_at_even_distances(embedder: Any) -> None:
    reward = scorer(embedder[2])
    frames = torch.rand(2, 9, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    chosen = reward.score(frames[:, [0, 4, 8]], checks.PROMPTS)
    assert torch.equal(reward.score(frames, checks.PROMPTS), chosen)


def test_long_prompts_are_cut_to_the_models_context(embedder: Any) -> None:
    prompts = [
        prompt.model_copy(update={"prompt": "a red circle " * 40}) for prompt in checks.PROMPTS
    ]
    assert scorer(embedder[2]).score(checks.videos(), prompts).isfinite().all()


def test_a_single_frame_is_refused(embedder: Any) -> None:
    with pytest.raises(ValueError, match="at least 2 frames"):
        scorer(embedder[2]).score(checks.videos()[:, :1], checks.PROMPTS)


def test_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(WeightsUnreadable, match="'clip'"):
        scorer(tmp_path)
