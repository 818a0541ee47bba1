"""LoRA key names of the original Wan code, which ComfyUI reads.

The names are facts of the two published layouts; `diffusers` translates the other way when it loads
such a file. `alpha` keys are not written: files of this layout carry the scale in the second factor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

_RENAMES = (
    (r"^blocks\.(\d+)\.attn1\.to_([qkv])\.", r"blocks.\1.self_attn.\2."),
    (r"^blocks\.(\d+)\.attn1\.to_out\.0\.", r"blocks.\1.self_attn.o."),
    (r"^blocks\.(\d+)\.attn2\.to_([qkv])\.", r"blocks.\1.cross_attn.\2."),
    (r"^blocks\.(\d+)\.attn2\.to_out\.0\.", r"blocks.\1.cross_attn.o."),
    (r"^blocks\.(\d+)\.attn2\.add_([kv])_proj\.", r"blocks.\1.cross_attn.\2_img."),
    (r"^blocks\.(\d+)\.ffn\.net\.0\.proj\.", r"blocks.\1.ffn.0."),
    (r"^blocks\.(\d+)\.ffn\.net\.2\.", r"blocks.\1.ffn.2."),
    (r"^condition_embedder\.time_proj\.", r"time_projection.1."),
    (r"^condition_embedder\.time_embedder\.linear_1\.", r"time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", r"time_embedding.2."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", r"text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", r"text_embedding.2."),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", r"img_emb.proj.1."),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2\.", r"img_emb.proj.3."),
    (r"^proj_out\.", r"head.head."),
)


def to_comfyui(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """`state` (keys of WanTransformer3DModel) under ComfyUI's names; None where one has no such name."""
    renamed = {_renamed(name): tensor for name, tensor in state.items()}
    return None if None in renamed else {f"diffusion_model.{k}": v for k, v in renamed.items()}


def _renamed(name: str) -> str | None:
    for pattern, replacement in _RENAMES:
        new, hits = re.subn(pattern, replacement, name)
        if hits:
            return new
    return None
