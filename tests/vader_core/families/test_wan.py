from __future__ import annotations

import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

from vader_core.catalogue import BUILT_IN, BaseModelRow, Variant
from vader_core.families import family_of
from vader_core.spec import Video

ROWS = [row for row in BUILT_IN.base_models.values() if row.id.startswith(("wan", "skyreels"))]
FEW_STEPS = [
    pytest.param(variant, id=f"{row.id}-{name}")
    for row in ROWS
    for name, variant in row.variants.items()
]


class Part:
    """Anything with attributes."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


def scheduler(changes: dict[str, object]) -> UniPCMultistepScheduler:
    options = {name: value for name, value in changes.items() if name != "_class_name"}
    assert changes["_class_name"] == "UniPCMultistepScheduler"
    return UniPCMultistepScheduler(**options)


@pytest.mark.parametrize("variant", FEW_STEPS)
def test_few_steps_are_eulers_at_the_timesteps_of_the_distillation(variant: Variant) -> None:
    """LightX2V's and Lightning's own scheduler: sigma = 5 s / (1 + 4 s) for s of 1, 3/4, 1/2, 1/4."""
    few = scheduler(dict(variant.scheduler))
    few.set_timesteps(variant.inference_steps)
    even = torch.tensor([1.0, 0.75, 0.5, 0.25])
    expected = 1000 * 5 * even / (1 + 4 * even)
    assert (few.timesteps - expected).abs().max() < 1.5
    found = by_euler = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    for i, t in enumerate(few.timesteps):
        velocity = torch.randn(2, 3, generator=torch.Generator().manual_seed(i + 1))
        found = few.step(velocity, t, found).prev_sample
        by_euler = by_euler + (few.sigmas[i + 1] - few.sigmas[i]) * velocity
    assert torch.allclose(found, by_euler, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "boundary_ratio", "low_noise_steps"),
    [("wan2.2-t2v-a14b", 0.875, 14), ("wan2.2-i2v-a14b", 0.9, 25)],
)
def test_the_high_noise_expert_learns_where_the_steps_reach_back_to_it(
    model: str, boundary_ratio: float, low_noise_steps: int
) -> None:
    row = BUILT_IN.base_models[model]
    pipeline = Part(
        config={"boundary_ratio": boundary_ratio}, scheduler=scheduler(dict(row.scheduler))
    )
    video = Video(inference_steps=row.defaults.inference_steps)
    family = family_of(row)

    def trained(steps: int) -> tuple[str, ...]:
        return family.trained(pipeline, video, differentiable_steps=steps)

    assert trained(low_noise_steps) == ("transformer_2",)
    assert trained(low_noise_steps + 1) == ("transformer", "transformer_2")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_default_sizes_are_legal(row: BaseModelRow) -> None:
    for side in (row.defaults.width, row.defaults.height):
        assert side in row.sizes.sides([])
    assert row.defaults.num_frames in row.sizes.frames()
    assert row.needs_image == ("ImageToVideo" in row.pipeline_class)


def test_comfyui_has_names_for_the_layers_that_read_the_image() -> None:
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        image_dim=16,
        added_kv_proj_dim=24,
    )
    attention = ("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj")
    targets = (*attention, "image_embedder.ff.net.0.proj", "image_embedder.ff.net.2")
    layers = [name for name, _ in transformer.named_modules() if name.endswith(targets)]
    state = {
        f"{layer}.lora_{half}.weight": torch.full((2, 2), float(number))
        for number, layer in enumerate(layers)
        for half in "AB"
    }
    named = family_of(BUILT_IN.base_models["wan2.1-i2v-14b-480p"]).comfyui(state)
    assert named is not None
    assert "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight" in named
    converted = WanPipeline.lora_state_dict(dict(named))
    assert converted.keys() == {f"transformer.{name}" for name in state}
    assert all(torch.equal(converted[f"transformer.{name}"], state[name]) for name in state)
