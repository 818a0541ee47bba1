from __future__ import annotations

import pytest
import torch

from tests.vader_core.tiny_models import NAMES, base_model, generators, gradients, scene
from vader_core import rollout
from vader_core.catalogue import BUILT_IN, BaseModelRow
from vader_core.errors import CatalogueUnusable
from vader_core.families import family_of
from vader_core.method_spec import RewardGradient
from vader_core.resolve import with_defaults
from vader_core.spec import Prompt, Video

TEXTS = ["a red circle moving left", "a blue square moving up"]
PROMPTS = [Prompt(prompt=text) for text in TEXTS]


@pytest.mark.parametrize(
    ("name", "video", "shape"),
    [
        ("tiny-unet", Video(), (3, 4, 8, 8, 8)),
        ("tiny-unet", Video(width=64, height=16, num_frames=1), (3, 4, 1, 4, 16)),
        ("tiny-wan", Video(), (3, 8, 5, 8, 8)),
        ("tiny-wan", Video(width=16, num_frames=1), (3, 8, 1, 8, 4)),
    ],
)
def test_latents_have_the_shape_that_the_pipeline_wants(
    name: str, video: Video, shape: tuple[int, ...]
) -> None:
    base = base_model(name, torch.float32)
    assert base.latents_shape(with_defaults(video, base.row), batch=3) == shape


def test_shape_of_an_unresolved_video_is_refused() -> None:
    with pytest.raises(ValueError, match="not resolved"):
        base_model("tiny-unet", torch.float32).latents_shape(Video(), batch=1)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_the_pipelines_and_outlive_the_text_encoder(name: str) -> None:
    base = base_model(name, torch.float32)
    together = base.conditions(PROMPTS, Video())
    options = {"max_sequence_length": 16} if name == "tiny-wan" else {"num_images_per_prompt": 1}
    with torch.no_grad():
        expected, negative = base.pipeline.encode_prompt(
            TEXTS,
            device=torch.device("cpu"),
            do_classifier_free_guidance=True,
            negative_prompt=["", ""],
            **options,
        )
    assert torch.allclose(together.cond["prompt_embeds"], expected, atol=1e-5)
    assert torch.allclose(together.uncond["prompt_embeds"], negative, atol=1e-5)
    base.drop_text_encoders()
    again = base.conditions(PROMPTS[::-1], Video())
    assert torch.equal(again.cond["prompt_embeds"], together.cond["prompt_embeds"].flip(0))
    with pytest.raises(KeyError, match="a green triangle"):
        base.conditions([Prompt(prompt="a green triangle")], Video())


@pytest.mark.parametrize("name", NAMES)
def test_a_new_text_brings_dropped_text_encoders_back(name: str) -> None:
    new = [Prompt(prompt="a green triangle")]
    base = base_model(name, torch.float32)
    expected = base.conditions(new, Video())
    other = base_model(name, torch.float32)
    other.encode(PROMPTS, Video())
    other.drop_text_encoders()
    other.encode(PROMPTS, Video())
    assert other.pipeline.text_encoder is None
    other.encode(new, Video())
    other.drop_text_encoders()
    found = other.conditions(new, Video())
    assert torch.equal(found.cond["prompt_embeds"], expected.cond["prompt_embeds"])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_loaded_model_learns(name: str) -> None:
    base = base_model(name, torch.float32)
    parts = base.pipeline.components.values()
    models = [part for part in parts if isinstance(part, torch.nn.Module)]
    assert len(models) == 3
    assert not any(p.requires_grad for model in models for p in model.parameters())
    assert not any(model.training for model in models)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_keeps_decoder_latents_and_gradient_in_float32(name: str) -> None:
    """bf16 weights of the denoiser: close to float32, with a gradient that points the same way."""
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        case = scene(name, dtype)
        assert case.base.denoiser.dtype == dtype
        assert case.base.pipeline.vae.dtype == torch.float32
        method = RewardGradient(prediction_penalty=1.0)
        sampled = rollout.sample(
            rollout.Batch(case.base, case.conditions, case.noise, case.video, generators(2)),
            method=method,
        )
        assert sampled.latents_BCfHW.dtype == torch.float32
        assert sampled.penalty is not None
        (sampled.latents_BCfHW.square().mean() + 0.1 * sampled.penalty).backward()
        gradient = gradients(case.adapter)
        assert gradient.dtype == torch.float32
        results.append((sampled.latents_BCfHW.detach(), gradient))
    (exact, exact_gradient), (rounded, rounded_gradient) = results
    assert (exact - rounded).norm() < 0.1 * exact.norm()
    assert torch.cosine_similarity(exact_gradient, rounded_gradient, dim=0) > 0.99


@pytest.mark.parametrize("row", BUILT_IN.base_models.values(), ids=lambda row: row.id)
def test_every_row_of_the_catalogue_names_a_family(row: BaseModelRow) -> None:
    assert family_of(row).denoisers


def test_a_row_of_an_unknown_family_is_refused() -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_copy(update={"family": "wann"})
    with pytest.raises(CatalogueUnusable, match="wann"):
        family_of(row)
