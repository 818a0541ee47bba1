"""VideoCrafter2 from its published checkpoint: one Lightning file becomes a diffusers folder.

Source: VideoCrafter/VideoCrafter2 on the hub (model.ckpt), loaded there with `strict=True` into the
modules that configs/inference_t2v_512_v2.0.yaml of github.com/AILab-CVC/VideoCrafter describes: so its
names and shapes are those of these modules. The file holds no tokenizer; it is CLIP's, padded with
token 0 as OpenCLIP pads. Of the text encoder the last layer and the projections are dropped: the
model is conditioned on the layer before (`layer: penultimate`) after the last norm.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vader_core.convert import latent_diffusion_names as names
from vader_core.convert.published import filled, read, refuse, staged
from vader_core.pipelines.videocrafter import (
    ScaledDDIMScheduler,
    VideoCrafterPipeline,
    VideoCrafterUNet,
)
from vader_core.weights import reading

SOURCES = {
    "checkpoint": "model.ckpt of VideoCrafter/VideoCrafter2",
    "tokenizer": "a folder with CLIP's vocab.json and merges.txt, such as tokenizer/ of ali-vilab/text-to-video-ms-1.7b",
}
_UNET, _AUTOENCODER, _TEXT = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.model.",
)
# The noise schedule, which the scheduler computes.
_SCHEDULE = re.compile(
    r"betas|scale_arr|alphas_cumprod(_prev)?|sqrt_(recip_|recipm1_)?alphas_cumprod"
    r"|(sqrt|log)_one_minus_alphas_cumprod"
    r"|posterior_(variance|log_variance_clipped|mean_coef1|mean_coef2)"
)


@dataclass(frozen=True)
class Parts:
    """The models that the checkpoint holds, made on the meta device."""

    unet: VideoCrafterUNet
    autoencoder: AutoencoderKL
    text_encoder: CLIPTextModel


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the pipeline folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    tokenizer = _tokenizer(sources["tokenizer"])
    parts = fill(published_parts(), read(sources["checkpoint"]), path=sources["checkpoint"])
    save(parts, tokenizer, out)


def save(parts: Parts, tokenizer: CLIPTokenizer, out: Path) -> None:
    """Writes the pipeline of `parts` as the folder `out`."""
    pipeline = VideoCrafterPipeline(
        parts.autoencoder, parts.text_encoder, tokenizer, parts.unet, ScaledDDIMScheduler()
    )
    with staged(out) as folder:
        pipeline.save_pretrained(folder)


def published_parts() -> Parts:
    """The models of the published sizes, without weights."""
    with torch.device("meta"):
        return Parts(VideoCrafterUNet(), _autoencoder(), _text_encoder())


def fill(parts: Parts, tensors: dict[str, torch.Tensor], *, path: Path) -> Parts:
    """`parts` with the weights of the checkpoint's `tensors`, which were read from `path`.

    Raises one `WeightsUnreadable` for everything that is missing, misshapen or not known.
    """
    text_layers = int(parts.text_encoder.config.num_hidden_layers)
    tensors = _with_split_attention(tensors)
    used: set[str] = set()
    faults: list[str] = []
    for model, published_name in _namings(parts):
        faults += filled(model, tensors, published_name)
        used |= {published_name(name) for name in model.state_dict()}
    known = re.compile(
        rf"{_SCHEDULE.pattern}|{re.escape(_TEXT)}"
        rf"(text_projection|logit_scale|attn_mask|transformer\.resblocks\.{text_layers}\..+)"
    )
    left = sorted(set(tensors) - used)
    faults += [f"{name} is not known" for name in left if not known.fullmatch(name)]
    refuse(path, faults, expected="VideoCrafter2's model.ckpt")
    return parts


def _namings(parts: Parts) -> list[tuple[Any, Callable[[str], str]]]:
    """Each model with the published names of its tensors."""
    unet_name = functools.partial(
        names.unet_name, layers_per_block=int(parts.unet.config.layers_per_block)
    )
    autoencoder_name = functools.partial(
        names.autoencoder_name, levels=len(parts.autoencoder.config.block_out_channels)
    )
    return [
        (parts.unet, lambda name: _UNET + unet_name(name)),
        (parts.autoencoder, lambda name: _AUTOENCODER + autoencoder_name(name)),
        (parts.text_encoder, lambda name: _TEXT + names.text_encoder_name(name)),
    ]


def _with_split_attention(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        thirds = names.split_attention(name)
        if thirds:
            found.update(zip(thirds, tensor.chunk(3), strict=True))
        else:
            found[name] = tensor
    return found


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
        scaling_factor=0.18215,
    )


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=23,
            num_attention_heads=16,
            max_position_embeddings=77,
            hidden_act="gelu",
            projection_dim=1024,
        )
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer; "!" is token 0, with which OpenCLIP fills up."""
    with reading(folder, needs=["vocab.json", "merges.txt"], expected=SOURCES["tokenizer"]):
        return CLIPTokenizer.from_pretrained(
            folder,
            local_files_only=True,
            pad_token="!",  # noqa: S106 (a token of text)
            model_max_length=77,
        )
