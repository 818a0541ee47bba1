from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPModel, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.vader_core.rewards import checks
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.clip_head import ClipHead
from vader_core.rewards.head import Head, HeadConfig
from vader_core.tiny import world


def random_head(output: str = "none") -> Head:
    torch.manual_seed(0)
    return Head(HeadConfig(widths=[64, 16, 1], between="relu", output=output)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tiny CLIP with a random head beside it."""
    copied = tmp_path / "clip"
    shutil.copytree(checks.TINY_CLIP, copied)
    random_head("sigmoid").save_pretrained(copied)
    return copied


def test_score_is_the_heads_on_the_embeddings_of_clips_own_processor(folder: Path) -> None:
    frames = checks.videos()
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(
        checks.images(frames), return_tensors="pt"
    )
    model = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = random_head("sigmoid")(normalize(model(**pixels).image_embeds, dim=-1))
    found = ClipHead(checks.row(folder), {}, checks.compute()).score(frames, checks.PROMPTS)
    assert (found - expected.view(2, 3).mean(1)).abs().max() < 1e-3


@pytest.mark.parametrize("params", [{}, {"fit": "stretch"}])
def test_gradient_is_that_of_the_score(folder: Path, params: dict[str, str]) -> None:
    reward = ClipHead(checks.row(folder), dict(params), checks.compute())
    frames = checks.videos(40, 40)
    checks.assert_gradient_is_right(reward, frames)
    checks.assert_score_is_of_the_video_alone(reward, frames)


def test_stretching_shows_the_model_what_cropping_cuts_off(folder: Path) -> None:
    frames = checks.videos(32, 64)
    changed = frames.clone()
    changed[..., :8] = 0
    for params, sees in (({}, False), ({"fit": "stretch"}, True)):
        reward = ClipHead(checks.row(folder), dict(params), checks.compute())
        scores = [reward.score(each, checks.PROMPTS) for each in (frames, changed)]
        assert bool((scores[0] != scores[1]).all()) is sees


def look_head(text: str) -> Head:
    """A linear head whose score is the cosine with a text."""
    model = CLIPModel.from_pretrained(checks.TINY_CLIP, dtype=torch.float32).eval()
    tokens = AutoTokenizer.from_pretrained(checks.TINY_CLIP)([text], return_tensors="pt")
    pooled = model.text_model(**tokens).pooler_output
    head = Head(HeadConfig(widths=[64, 1]))
    head.layers[0].weight.data = normalize(model.text_projection(pooled), dim=-1).detach()
    head.layers[0].bias.data.zero_()
    return head


def test_named_head_is_taken_and_its_sign_decides_the_order(folder: Path) -> None:
    look_head("a red circle").save_pretrained(folder, "redness")
    scenes = [world.Scene(colour, "circle", "left") for colour in ("red", "blue")]
    frames = world.draw(scenes, generator=torch.Generator().manual_seed(0), num_frames=2)
    for sign in (1, -1):
        row = checks.row(folder, head="redness", sign=sign)
        red, blue = ClipHead(row, {}, checks.compute(torch.float32)).score(frames, checks.PROMPTS)
        assert sign * (red - blue) > 0.1


def test_vision_model_alone_serves_as_well(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "vision"
    CLIPVisionModelWithProjection.from_pretrained(folder).save_pretrained(alone)
    for name in ("preprocessor_config.json", "head.json", "head.safetensors"):
        shutil.copy(folder / name, alone)
    frames = checks.videos()
    whole, half = (
        ClipHead(checks.row(each), {}, checks.compute()).score(frames, checks.PROMPTS)
        for each in (folder, alone)
    )
    assert torch.equal(whole, half)


def test_missing_head_is_named(folder: Path) -> None:
    with pytest.raises(WeightsUnreadable, match=r"lacks rain\.json, rain\.safetensors"):
        ClipHead(checks.row(folder, head="rain"), {}, checks.compute())


def test_head_of_another_width_is_refused(folder: Path) -> None:
    Head(HeadConfig(widths=[32, 1])).save_pretrained(folder)
    (folder / "head.json").write_text('{"widths": [64, 1]}')
    with pytest.raises(WeightsUnreadable, match="size mismatch"):
        ClipHead(checks.row(folder), {}, checks.compute())


@pytest.mark.parametrize("fields", ['{"widths": [64, 2]}', '{"widths": [64, 1], "output": "cube"}'])
def test_malformed_head_is_refused(folder: Path, fields: str) -> None:
    (folder / "head.json").write_text(fields)
    with pytest.raises(WeightsUnreadable, match=r"end in 1|'cube'"):
        ClipHead(checks.row(folder), {}, checks.compute())
