"""The fused pairs change the weights as the separate ones do, under the original code's names."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_hunyuan_video_lora_to_diffusers

from vader_core.fused_keys import hunyuan_video_to_comfyui, mochi_to_comfyui

# The library's own conversion back knows the published model's width only.
_WIDTH, _RANK = 3072, 2
_HUNYUAN = {
    **{f"transformer_blocks.3.attn.{part}": 1 for part in ("to_q", "to_k", "to_v", "to_out.0")},
    "transformer_blocks.3.attn.add_v_proj": 1,
    "transformer_blocks.3.attn.to_add_out": 1,
    "single_transformer_blocks.7.attn.to_q": 1,
    "single_transformer_blocks.7.attn.to_v": 1,
    "single_transformer_blocks.8.proj_mlp": 4,
    "context_embedder.token_refiner.refiner_blocks.1.attn.to_k": 1,
    "context_embedder.token_refiner.refiner_blocks.1.attn.to_out.0": 1,
}


def _pairs(sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, size in sizes.items():
        state[f"{name}.lora_A.weight"] = torch.randn(_RANK, 5, generator=generator)
        state[f"{name}.lora_B.weight"] = torch.randn(size * _WIDTH, _RANK, generator=generator)
    return state


def _change(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return state[f"{name}.lora_B.weight"] @ state[f"{name}.lora_A.weight"]


def test_diffusers_reads_hunyuan_video_keys_as_the_same_change_of_every_layer() -> None:
    state = _pairs(_HUNYUAN)
    renamed = hunyuan_video_to_comfyui(state)
    assert renamed is not None
    assert set(renamed) == {
        f"diffusion_model.{name}.lora_{factor}.weight"
        for factor in "AB"
        for name in (
            "double_blocks.3.img_attn_qkv",
            "double_blocks.3.txt_attn_qkv",
            "double_blocks.3.img_attn_proj",
            "double_blocks.3.txt_attn_proj",
            "single_blocks.7.linear1",
            "single_blocks.8.linear1",
            "txt_in.individual_token_refiner.blocks.1.self_attn_qkv",
            "txt_in.individual_token_refiner.blocks.1.self_attn_proj",
        )
    }
    # The library takes no first factors of the refiner's fused layer: they are checked below.
    refiner = "diffusion_model.txt_in.individual_token_refiner.blocks.1.self_attn_qkv"
    fused = {name: renamed.pop(f"{refiner}.lora_{name}.weight") for name in "AB"}
    back = {
        key.removeprefix("transformer."): tensor
        for key, tensor in _convert_hunyuan_video_lora_to_diffusers(renamed).items()
    }
    for name in {key.rpartition(".lora_")[0] for key in back}:
        found = _change(back, name)
        expected = _change(state, name) if name in _HUNYUAN else torch.zeros_like(found)
        assert torch.allclose(found, expected, atol=1e-5)
    key = "context_embedder.token_refiner.refiner_blocks.1.attn.to_k"
    queries, keys, values = (fused["B"] @ fused["A"]).chunk(3)
    assert torch.allclose(keys, _change(state, key), atol=1e-5)
    assert not queries.any()
    assert not values.any()


def test_mochi_layers_are_parts_of_the_original_ones_in_the_order_of_its_conversion() -> None:
    names = ("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "to_add_out")
    state = _pairs({f"transformer_blocks.2.attn1.{name}": 1 for name in names})
    renamed = mochi_to_comfyui(state)
    assert renamed is not None
    changes = [_change(state, f"transformer_blocks.2.attn1.{name}") for name in names]
    assert torch.allclose(
        _change(renamed, "blocks.2.attn.qkv_x"), torch.cat(changes[:3]), atol=1e-5
    )
    assert torch.allclose(_change(renamed, "blocks.2.attn.proj_x"), changes[3])
    keys = _change(renamed, "blocks.2.attn.qkv_y").chunk(3)[1]
    assert torch.allclose(keys, changes[4])
    assert torch.allclose(_change(renamed, "blocks.2.attn.proj_y"), changes[5])


@pytest.mark.parametrize("convert", [hunyuan_video_to_comfyui, mochi_to_comfyui])
def test_a_layer_without_such_a_name_gives_no_file(convert: object) -> None:
    assert callable(convert)
    assert convert(_pairs({"norm_out.linear": 1})) is None
