"""CLIP ViT-H/14, on which HPS v2 and MPS are built: its sizes, and the files beside its weights.

Sources: model_configs/ViT-H-14.json of github.com/mlfoundations/open_clip (its copy in
github.com/tgxs002/HPSv2 was read) and its constants.py for mean and standard deviation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vader_core.weights import reading

_BICUBIC = 3
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_vit_h() -> CLIPModel:
    """The model on the meta device."""
    config = CLIPConfig(
        projection_dim=1024,
        text_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
            "projection_dim": 1024,
        },
        vision_config={
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "patch_size": 14,
            "hidden_act": "gelu",
            "projection_dim": 1024,
        },
    )
    with torch.device("meta"):
        return CLIPModel(config)


def write_preprocessing(folder: Path, **fields: Any) -> None:
    """Writes preprocessor_config.json with CLIP's filter, mean and standard deviation and `fields`."""
    shared = {"resample": _BICUBIC, "image_mean": _MEAN, "image_std": _STD}
    text = json.dumps({**shared, **fields}, indent=2)
    (folder / "preprocessor_config.json").write_text(text + "\n", encoding="utf-8")


def clip_tokenizer(folder: Path, *, expected: str) -> CLIPTokenizer:
    """The tokenizer that lies in `folder`. Raises `WeightsUnreadable`."""
    with reading(folder, needs=["tokenizer_config.json"], expected=expected):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
