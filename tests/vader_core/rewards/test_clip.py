from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.vader_core.tiny_models import PROMPTS, reward
from vader_core.catalogue import BUILT_IN
from vader_core.spec import Prompt

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
