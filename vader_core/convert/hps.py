"""HPS v2.0 and v2.1 from their published checkpoints: OpenCLIP's ViT-H/14 becomes a CLIPModel folder.

Source: github.com/tgxs002/HPSv2: hpsv2/img_score.py loads the file strictly into its copy of OpenCLIP's
`CLIP`, so the names and shapes are that class's (hpsv2/src/open_clip/model.py and transformer.py). OpenCLIP
keeps query, key and value in one tensor and its projections the other way round. Its images are fitted
into 224x224 and padded with black (`light_augmentation=True` gives `ResizeMaxSize`). Its texts are CLIP's;
the padding token differs, which the causal attention never lets the last word see.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import CLIPModel

from vader_core.convert.clip_vit_h import clip_tokenizer, clip_vit_h, write_preprocessing
from vader_core.convert.latent_diffusion_names import split_attention, text_encoder_name
from vader_core.convert.published import filled, read, refuse, staged

SOURCES = {
    "checkpoint": "HPS_v2_compressed.pt or HPS_v2.1_compressed.pt of xswu/HPSv2",
    "tokenizer": "a folder with CLIP's tokenizer, such as that of laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
}
_VISION_ENDS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
_ENDS = {
    "logit_scale": "logit_scale",
    "visual_projection.weight": "visual.proj.T",
    "text_projection.weight": "text_projection.T",
}


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    tokenizer = clip_tokenizer(sources["tokenizer"], expected=SOURCES["tokenizer"])
    path = sources["checkpoint"]
    model = fill(clip_vit_h(), read(path), path=path)
    with staged(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_preprocessing(folder, size={"longest_edge": 224}, do_pad=True)


def fill(model: CLIPModel, tensors: dict[str, torch.Tensor], *, path: Path) -> CLIPModel:
    """`model`, made on the meta device, with the checkpoint's `tensors`, which were read from `path`.

    Raises one `WeightsUnreadable` for all that is missing, misshapen or not known.
    """
    tensors = _in_transformers_shapes(tensors)
    faults = filled(model, tensors, published_name)
    used = {published_name(name) for name in model.state_dict()}
    faults += [f"{name} is not known" for name in sorted(set(tensors) - used)]
    refuse(path, faults, expected=SOURCES["checkpoint"])
    return model


def published_name(name: str) -> str:
    """OpenCLIP's name of a tensor of `CLIPModel`, after `_in_transformers_shapes`."""
    half, _, rest = name.partition(".")
    if half == "text_model":
        return text_encoder_name(rest)
    if half == "vision_model":
        return f"visual.{_VISION_ENDS.get(rest) or text_encoder_name(rest)}"
    return _ENDS[name]


def _in_transformers_shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Joint projections apart, and the last projections turned."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        thirds = split_attention(name)
        if thirds:
            found.update(zip(thirds, tensor.chunk(3), strict=True))
        elif name in ("visual.proj", "text_projection"):
            found[f"{name}.T"] = tensor.T.contiguous()
        else:
            found[name] = tensor
    return found
