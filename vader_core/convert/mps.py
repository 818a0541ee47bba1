"""MPS from its weights: a state dict of its CLIP and cross-attention becomes a reward folder.

Source: trainer/models of github.com/Kwai-Kolors/MPS for the names. The file published there is a pickled
module, which would run code when read; the same tensors as a plain state dict are model.safetensors of
RE-N-Y/mpsv1 on the hub (every name begins with `mps.`) and MPS_overall.pth of
github.com/aigc-apps/VideoX-Fun. Half of the cross-attention keeps query, key, value and feed-forward in
one tensor.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPModel

from vader_core.convert.clip_vit_h import clip_tokenizer, clip_vit_h
from vader_core.convert.published import filled, read, refuse, staged
from vader_core.rewards.mps_layers import CrossAttention, CrossAttentionConfig
from vader_core.weights import reading

SOURCES = {
    "checkpoint": "model.safetensors of RE-N-Y/mpsv1, or MPS_overall.pth of VideoX-Fun",
    "clip": "a folder with tokenizer and preprocessor_config.json of laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
}
_PROCESSOR = "preprocessor_config.json"
_FUSED = "fused_attn_ff_proj.weight"
_TO_PROMPT = {
    "query.weight": "to_q.weight",
    "key_value.weight": "to_kv.weight",
    "attention_out.weight": "to_out.weight",
    "feed_in.weight": "ff.0.weight",
    "feed_out.weight": "ff.2.weight",
}
_TO_IMAGE = {
    "query.weight": f"{_FUSED}.query",
    "key_value.weight": f"{_FUSED}.key_value",
    "attention_out.weight": "attn_out.weight",
    "feed_in.weight": f"{_FUSED}.feed",
    "feed_out.weight": "ff_out.1.weight",
}
# Buffers that hold nothing learnt: counted positions, rotary frequencies, and norms' biases of zero.
_BUFFERS = re.compile(
    r"model\.(text|vision)_model\.embeddings\.position_ids"
    r"|cross_model\.layers\.\d+\.1\.fn\.rotary_emb\.inv_freq"
    r"|cross_model\.layers\.\d+\.[01]\.fn\.norm\.bias"
)


@dataclass(frozen=True)
class Parts:
    """The models that the checkpoint holds, made on the meta device."""

    clip: CLIPModel
    cross: CrossAttention


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    tokenizer = clip_tokenizer(sources["clip"], expected=SOURCES["clip"])
    parts = fill(published_parts(), read(sources["checkpoint"]), path=sources["checkpoint"])
    with (
        reading(sources["clip"], needs=[_PROCESSOR], expected=SOURCES["clip"]),
        staged(out) as folder,
    ):
        parts.clip.save_pretrained(folder)
        parts.cross.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        shutil.copyfile(sources["clip"] / _PROCESSOR, folder / _PROCESSOR)


def published_parts() -> Parts:
    """The models of the published sizes, without weights."""
    with torch.device("meta"):
        return Parts(clip_vit_h(), CrossAttention(CrossAttentionConfig()))


def fill(parts: Parts, tensors: dict[str, torch.Tensor], *, path: Path) -> Parts:
    """`parts` with the weights of the checkpoint's `tensors`, which were read from `path`.

    Raises one `WeightsUnreadable` for all that is missing, misshapen or not known.
    """
    tensors = {name.removeprefix("mps."): tensor for name, tensor in tensors.items()}
    tensors = _apart(tensors, parts.cross.config)
    faults = filled(parts.clip, tensors, lambda name: f"model.{name}")
    faults += filled(parts.cross, tensors, cross_name)
    used = {f"model.{name}" for name in parts.clip.state_dict()}
    used |= {cross_name(name) for name in parts.cross.state_dict()}
    left = sorted(set(tensors) - used)
    faults += [f"{name} is not known" for name in left if not _BUFFERS.fullmatch(name)]
    refuse(path, faults, expected=SOURCES["checkpoint"])
    return parts


def cross_name(name: str) -> str:
    """The published name of a tensor of `CrossAttention`, after `_apart`."""
    kind, index, rest = name.split(".", 2)
    place, table = (0, _TO_PROMPT) if kind == "to_prompt" else (1, _TO_IMAGE)
    return f"cross_model.layers.{index}.{place}.fn.{table.get(rest, rest)}"


def _apart(
    tensors: dict[str, torch.Tensor], config: CrossAttentionConfig
) -> dict[str, torch.Tensor]:
    """Joint projections as their three parts, where their length is as expected."""
    inner, hidden = config.heads * config.head_width, config.expansion * config.width
    parts = {"query": inner, "key_value": 2 * config.head_width, "feed": 2 * hidden}
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(f".{_FUSED}") and len(tensor) == sum(parts.values()):
            pieces = torch.split(tensor, list(parts.values()))
            found.update(
                {
                    f"{name}.{part}": one.contiguous()
                    for part, one in zip(parts, pieces, strict=True)
                }
            )
        else:
            found[name] = tensor
    return found
