"""LoRA keys of HunyuanVideo's and Mochi's original code, which ComfyUI reads; several layers in one there.

Where diffusers has one layer each for queries, keys and values, and HunyuanVideo's single blocks one
more for the feed-forward part, the original code has one layer whose outputs are theirs, one after the
other. The pairs of factors become one pair: the first factors stacked, the second ones along the
diagonal. That is the same change of the weights, at the sum of the ranks.

Sources: ComfyUI's comfy/lora.py ("diffusion-pipe lora format" of HunyuanVideo, "Official Mochi lora
format"); the order of the outputs: diffusers' loaders/lora_conversion_utils.py for HunyuanVideo and its
scripts/convert_mochi_to_diffusers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class _Layer:
    """An original layer: `parts` are the endings of the layers it is made of, `sizes` their relative outputs."""

    block: str
    name: str
    parts: tuple[str, ...]
    sizes: tuple[int, ...] = (1, 1, 1)


_QKV, _ADDED = ("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")
_DOUBLE, _SINGLE = r"transformer_blocks\.(\d+)\.attn\.", r"single_transformer_blocks\.(\d+)\."
_REFINER = r"context_embedder\.token_refiner\.refiner_blocks\.(\d+)\.attn\."
_HUNYUAN = (
    _Layer(_DOUBLE, "double_blocks.{}.img_attn_qkv", _QKV),
    _Layer(_DOUBLE, "double_blocks.{}.txt_attn_qkv", _ADDED),
    _Layer(_DOUBLE, "double_blocks.{}.img_attn_proj", ("to_out.0",), (1,)),
    _Layer(_DOUBLE, "double_blocks.{}.txt_attn_proj", ("to_add_out",), (1,)),
    _Layer(
        _SINGLE,
        "single_blocks.{}.linear1",
        ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
        # The feed-forward part of the published model is four times as wide.
        (1, 1, 1, 4),
    ),
    _Layer(_SINGLE, "single_blocks.{}.linear2", ("proj_out",), (1,)),
    _Layer(_REFINER, "txt_in.individual_token_refiner.blocks.{}.self_attn_qkv", _QKV),
    _Layer(
        _REFINER, "txt_in.individual_token_refiner.blocks.{}.self_attn_proj", ("to_out.0",), (1,)
    ),
)
_MOCHI_BLOCK = r"transformer_blocks\.(\d+)\.attn1\."
_MOCHI = (
    _Layer(_MOCHI_BLOCK, "blocks.{}.attn.qkv_x", _QKV),
    _Layer(_MOCHI_BLOCK, "blocks.{}.attn.qkv_y", _ADDED),
    _Layer(_MOCHI_BLOCK, "blocks.{}.attn.proj_x", ("to_out.0",), (1,)),
    _Layer(_MOCHI_BLOCK, "blocks.{}.attn.proj_y", ("to_add_out",), (1,)),
)


def hunyuan_video_to_comfyui(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """`state` (keys of HunyuanVideoTransformer3DModel); None where a layer has no name there."""
    fused = _fused(state, _HUNYUAN)
    return None if fused is None else {f"diffusion_model.{k}": v for k, v in fused.items()}


def mochi_to_comfyui(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """`state` (keys of MochiTransformer3DModel); None where a layer has no name there."""
    return _fused(state, _MOCHI)


def _fused(
    state: Mapping[str, torch.Tensor], layers: tuple[_Layer, ...]
) -> dict[str, torch.Tensor] | None:
    found: dict[str, tuple[_Layer, dict[int, Pair]]] = {}
    for name in sorted({key.rpartition(".lora_")[0] for key in state}):
        place = _place(name, layers)
        if place is None:
            return None
        layer, target, index = place
        pair = state[f"{name}.lora_A.weight"], state[f"{name}.lora_B.weight"]
        found.setdefault(target, (layer, {}))[1][index] = pair
    renamed: dict[str, torch.Tensor] = {}
    for target, (layer, pairs) in found.items():
        first, second = _diagonal(layer, pairs)
        renamed |= {f"{target}.lora_A.weight": first, f"{target}.lora_B.weight": second}
    return renamed


def _place(name: str, layers: tuple[_Layer, ...]) -> tuple[_Layer, str, int] | None:
    """The original layer of `name`, that layer's name in this block, and which of its parts it is."""
    for layer in layers:
        match = re.match(layer.block, name)
        if match is not None and name[match.end() :] in layer.parts:
            target = layer.name.format(match.group(1))
            return layer, target, layer.parts.index(name[match.end() :])
    return None


def _diagonal(layer: _Layer, pairs: Mapping[int, Pair]) -> Pair:
    """One pair that does what `pairs` do; parts that no adapter changes stay as they are."""
    index, (_, second) = next(iter(pairs.items()))
    unit = len(second) // layer.sizes[index]
    rows, start = {}, 0
    for part, size in enumerate(layer.sizes):
        rows[part] = slice(start * unit, (start + size) * unit)
        start += size
    ordered = sorted(pairs.items())
    rank = sum(len(first) for _, (first, _) in ordered)
    whole, column = second.new_zeros((start * unit, rank)), 0
    for part, (first, second) in ordered:
        whole[rows[part], column : column + len(first)] = second
        column += len(first)
    return torch.cat([first for _, (first, _) in ordered]), whole
