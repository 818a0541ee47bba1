from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.nn.functional import cosine_similarity
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.vader_core.rewards import checks
from tests.vader_core.tiny_models import PROMPTS, reward
from vader_core.catalogue import BUILT_IN
from vader_core.convert.clip_vit_h import write_preprocessing
from vader_core.rewards.clip import ClipSimilarity, PreferenceHeadReward
from vader_core.spec import Prompt
from vader_core.tiny import world

FOLDER = BUILT_IN.rewards["tiny-text-match"].folder


def videos() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 3, 4, 4, generator=generator)
    blocks = coarse.repeat_interleave(8, dim=-1).repeat_interleave(8, dim=-2)
    return (blocks * 255).round() / 255


def test_text_match_is_the_mean_cosine_of_clips_own_processor_and_tokenizer() -> None:
    model = CLIPModel.from_pretrained(FOLDER).eval()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    processor = CLIPImageProcessorPil.from_pretrained(FOLDER)
    frames = videos()
    images = list((frames.flatten(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    texts = [prompt.prompt for prompt in PROMPTS for _ in range(3)]
    with torch.no_grad():
        outputs = model(
            **processor(images, return_tensors="pt"),
            **tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt"),
        )
        found = reward("tiny-text-match", torch.float32).score(frames, PROMPTS)
    expected = cosine_similarity(outputs.image_embeds, outputs.text_embeds).view(2, 3).mean(1)
    assert (found - expected).abs().max() < 1e-5


def test_scores_of_frames_average_to_the_score_of_the_video() -> None:
    for name in ("tiny-text-match", "tiny-preference"):
        scorer, frames = reward(name), videos()
        apart = [scorer.score(frames[:, i : i + 1], PROMPTS) for i in range(3)]
        assert torch.allclose(scorer.score(frames, PROMPTS), torch.stack(apart).mean(0))


def test_score_of_a_video_does_not_depend_on_its_neighbours() -> None:
    for name in ("tiny-text-match", "tiny-preference"):
        scorer, frames = reward(name), videos()
        alone = [scorer.score(frames[i : i + 1], PROMPTS[i : i + 1]) for i in range(2)]
        assert torch.allclose(scorer.score(frames, PROMPTS), torch.cat(alone))


def test_preference_looks_at_the_prompt_and_at_the_frames() -> None:
    scorer, frames = reward("tiny-preference"), videos().requires_grad_()
    score = scorer.score(frames, PROMPTS)
    (gradient,) = torch.autograd.grad(score.sum(), frames)
    assert gradient.flatten(2).abs().amax(2).min() > 0
    other = scorer.score(frames, PROMPTS[::-1])
    assert not torch.allclose(score, other)


def test_long_prompts_are_cut_to_the_models_context() -> None:
    prompts = [Prompt(prompt="a red circle moving left " * 40)] * 2
    assert reward("tiny-text-match").score(videos(), prompts).isfinite().all()


@pytest.fixture
def padding_folder(tmp_path: Path) -> Path:
    """The tiny CLIP with the preprocessing of HPS: fitted into the model's square and padded."""
    copied = tmp_path / "clip"
    shutil.copytree(checks.TINY_CLIP, copied)
    write_preprocessing(copied, size={"longest_edge": 32}, do_pad=True)
    return copied


def processed(
    frames: torch.Tensor, how: str
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """The frames, 40 pixels high and 64 wide, as Pillow makes them fit 32x32."""
    pillow = [Image.fromarray(image) for image in checks.images(frames)]
    if how == "padded":
        small = [image.resize((32, 20), Image.Resampling.BICUBIC) for image in pillow]
        pillow = [ImageOps.expand(image, (0, 6, 0, 6)) for image in small]
    if how == "stretched":
        pillow = [image.resize((32, 32), Image.Resampling.BICUBIC) for image in pillow]
    return [np.asarray(image) for image in pillow]


def cosines(frames: torch.Tensor, folder: Path, how: str) -> torch.Tensor:
    """Cosines (2,) by CLIP's own classes, of images made by Pillow or by CLIP's image processor."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    texts = [prompt.prompt for prompt in checks.PROMPTS for _ in range(3)]
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", max_length=16, return_tensors="pt"
    )
    config = CLIPImageProcessorPil.from_pretrained(checks.TINY_CLIP)
    if how != "cropped":
        shared = {"image_mean": (0.48145466, 0.4578275, 0.40821073)}
        std = (0.26862954, 0.26130258, 0.27577711)
        config = CLIPImageProcessorPil(
            do_resize=False, do_center_crop=False, image_std=std, **shared
        )
    pixels = config(processed(frames, how), return_tensors="pt")
    with torch.no_grad():
        outputs = model(**pixels, **tokens)
    return cosine_similarity(outputs.image_embeds, outputs.text_embeds).view(2, 3).mean(1)


@pytest.mark.parametrize("how", ["cropped", "padded", "stretched"])
def test_frames_of_any_shape_score_as_those_of_the_published_processing(
    how: str, padding_folder: Path
) -> None:
    folder = checks.TINY_CLIP if how == "cropped" else padding_folder
    params = {"fit": "stretch"} if how == "stretched" else {}
    frames = checks.videos(40, 64)
    scorer = ClipSimilarity(checks.row(folder), dict(params), checks.compute())
    found = scorer.score(frames, checks.PROMPTS)
    assert (found - cosines(frames, folder, how)).abs().max() < 1e-3


def test_logit_scale_is_the_models_own() -> None:
    frames = checks.videos(32, 32)
    cosine, logit = (
        ClipSimilarity(checks.row(checks.TINY_CLIP, scale=scale), {}, checks.compute()).score(
            frames, checks.PROMPTS
        )
        for scale in ("cosine", "logit")
    )
    model = CLIPModel.from_pretrained(checks.TINY_CLIP, dtype=torch.float64)
    assert torch.allclose(logit, cosine * model.logit_scale.exp().item())


def test_videos_of_a_batch_each_prefer_their_own_prompt() -> None:
    scenes = [world.Scene("red", "circle", "left"), world.Scene("blue", "square", "up")]
    frames = world.draw(scenes, generator=torch.Generator().manual_seed(0), num_frames=3)
    prompts = [Prompt(prompt=world.caption(scene)) for scene in scenes]
    scorer = ClipSimilarity(checks.row(checks.TINY_CLIP), {}, checks.compute(torch.float32))
    matched, swapped = scorer.score(frames, prompts), scorer.score(frames, prompts[::-1])
    assert (matched - swapped).min() > 0.1


@pytest.mark.parametrize("kind", [ClipSimilarity, PreferenceHeadReward])
def test_gradient_is_that_of_the_score_of_the_video_alone(
    kind: type[ClipSimilarity] | type[PreferenceHeadReward], padding_folder: Path
) -> None:
    scorer, frames = kind(checks.row(padding_folder), {}, checks.compute()), checks.videos(40, 48)
    checks.assert_gradient_is_right(scorer, frames)
    checks.assert_score_is_of_the_video_alone(scorer, frames)
