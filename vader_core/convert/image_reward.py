"""ImageReward from its published checkpoint: BLIP's halves and the head become a reward folder.

Source: ImageReward/ImageReward.py, models/BLIP and train/src/config/med_config.json of
github.com/THUDM/ImageReward. The file is the state dict of its module. BLIP's two projections are in it
and take no part in the score. The text encoder's names are those of transformers already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BertTokenizer, BlipTextConfig, BlipVisionConfig, BlipVisionModel

from vader_core.convert.clip_vit_h import write_preprocessing
from vader_core.convert.published import filled, read, refuse, staged
from vader_core.rewards.head import Head, HeadConfig
from vader_core.rewards.image_reward import TEXT, VISION, TextEncoder
from vader_core.weights import reading

SOURCES = {
    "checkpoint": "ImageReward.pt of THUDM/ImageReward",
    "tokenizer": "the folder of google-bert/bert-base-uncased (its vocab.txt)",
}
_VISION_ENDS = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding.weight": "patch_embed.proj.weight",
    "embeddings.patch_embedding.bias": "patch_embed.proj.bias",
    "post_layernorm.weight": "norm.weight",
    "post_layernorm.bias": "norm.bias",
}
_VISION_LAYER = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.qkv": "attn.qkv",
    "self_attn.projection": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_HEAD_PLACES = (0, 2, 4, 6, 7)
_UNUSED = re.compile(
    r"blip\.(vision|text)_proj\.(weight|bias)|blip\.text_encoder\.embeddings\.position_ids"
)


@dataclass(frozen=True)
class Parts:
    """The models that the checkpoint holds, made on the meta device."""

    vision: BlipVisionModel
    text: TextEncoder
    head: Head


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    tokenizer = bert_tokenizer(sources["tokenizer"])
    parts = fill(published_parts(), read(sources["checkpoint"]), path=sources["checkpoint"])
    with staged(out) as folder:
        parts.vision.save_pretrained(folder / VISION)
        parts.text.save_pretrained(folder / TEXT)
        parts.head.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        edges = {"height": 224, "width": 224}
        write_preprocessing(
            folder, size={"shortest_edge": 224}, do_center_crop=True, crop_size=edges
        )


def bert_tokenizer(folder: Path) -> BertTokenizer:
    """The lower-case tokenizer of the folder's vocabulary. Raises `WeightsUnreadable`."""
    with reading(folder, needs=["vocab.txt"], expected=SOURCES["tokenizer"]):
        return BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)


def published_parts() -> Parts:
    """The models of the published sizes, without weights."""
    vision = BlipVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=224,
        patch_size=16,
        layer_norm_eps=1e-6,
    )
    text = BlipTextConfig(num_attention_heads=12, encoder_hidden_size=1024)
    with torch.device("meta"):
        head = Head(HeadConfig(widths=[768, 1024, 128, 64, 16, 1]))
        return Parts(BlipVisionModel(vision), TextEncoder(text), head)


def fill(parts: Parts, tensors: dict[str, torch.Tensor], *, path: Path) -> Parts:
    """`parts` with the weights of the checkpoint's `tensors`, which were read from `path`.

    Raises one `WeightsUnreadable` for all that is missing, misshapen or not known.
    """
    faults: list[str] = []
    used: set[str] = set()
    namings = [(parts.vision, vision_name), (parts.text, text_name), (parts.head, head_name)]
    for model, published_name in namings:
        faults += filled(model, tensors, published_name)
        used |= {published_name(name) for name in model.state_dict()}
    left = sorted(set(tensors) - used)
    faults += [f"{name} is not known" for name in left if not _UNUSED.fullmatch(name)]
    refuse(path, faults, expected=SOURCES["checkpoint"])
    return parts


def vision_name(name: str) -> str:
    """The published name of a tensor of `BlipVisionModel`."""
    found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if found is None:
        return f"blip.visual_encoder.{_VISION_ENDS[name]}"
    return f"blip.visual_encoder.blocks.{found[1]}.{_VISION_LAYER[found[2]]}.{found[3]}"


def text_name(name: str) -> str:
    """The published name of a tensor of `TextEncoder`."""
    return f"blip.text_encoder.{name}"


def head_name(name: str) -> str:
    """The published name of a tensor of `Head`."""
    _, index, kind = name.split(".")
    return f"mlp.layers.{_HEAD_PLACES[int(index)]}.{kind}"
