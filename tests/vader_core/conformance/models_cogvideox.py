"""Small random CogVideoX pipelines: 2B, 5B and 1.5 from text, 5B and 1.5 from an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel

from tests.vader_core.conformance.small_parts import livelier, small_row
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

_CHANNELS, _WIDTH, _TEXT_TOKENS = 4, 16, 16
_SIZE, _FRAMES = 16, 17
_ROTARY = {"use_rotary_positional_embeddings": True}
_PAIRS = {"patch_size_t": 2, "patch_bias": False}
_IMAGE = {"in_channels": 2 * _CHANNELS}


def build(folder: Path) -> BaseModelRow:
    """As 2B: positions by sines, which fit texts of one length only."""
    return _saved(folder, "cogvideox", _transformer())


def build_5b(folder: Path) -> BaseModelRow:
    """As 5B: rotary positions, a sampler that adds noise, guidance that changes from step to step."""
    row = _saved(folder, "cogvideox", _transformer(**_ROTARY), CogVideoXDPMScheduler)
    return row.model_copy(update={"call": {"use_dynamic_cfg": True}})


def build_15(folder: Path) -> BaseModelRow:
    """As 1.5: of five latent frames a sixth is made, since the transformer takes them two by two."""
    return _saved(folder, "cogvideox", _transformer(**_ROTARY, **_PAIRS))


def build_image(folder: Path) -> BaseModelRow:
    """As 5B from an image: learned positions besides rotary ones, one size only."""
    changes = {**_ROTARY, **_IMAGE, "use_learned_positional_embeddings": True}
    return _saved(folder, "cogvideox_image", _transformer(**changes))


def build_image_15(folder: Path) -> BaseModelRow:
    """As 1.5 from an image."""
    changes = {**_ROTARY, **_PAIRS, **_IMAGE, "ofs_embed_dim": 16}
    return _saved(folder, "cogvideox_image", _transformer(**changes))


def autoencoder(**changes: Any) -> AutoencoderKLCogVideoX:
    """Both temporal compressions: 1 + 8k frames to 1 + 2k latent ones, 4x4 pixels to one."""
    torch.manual_seed(2)
    options = {
        "block_out_channels": (8, 8, 8),
        "down_block_types": ("CogVideoXDownBlock3D",) * 3,
        "up_block_types": ("CogVideoXUpBlock3D",) * 3,
        "latent_channels": _CHANNELS,
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "sample_height": 96,
        "sample_width": 96,
    }
    return AutoencoderKLCogVideoX(**{**options, **changes})


def _saved(
    folder: Path,
    family: str,
    transformer: CogVideoXTransformer3DModel,
    scheduler_class: Any = CogVideoXDDIMScheduler,
) -> BaseModelRow:
    tokenizer = word_tokenizer()
    pipeline_class = (
        CogVideoXImageToVideoPipeline if family.endswith("image") else CogVideoXPipeline
    )
    torch.manual_seed(1)
    pipeline_class(
        tokenizer=tokenizer,
        text_encoder=_text_encoder(len(tokenizer)),
        vae=autoencoder(),
        transformer=transformer,
        scheduler=scheduler_class(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            snr_shift_scale=1.0,
        ),
    ).save_pretrained(folder)
    return small_row(
        folder,
        family,
        pipeline_class,
        size=(_SIZE, _SIZE),
        num_frames=_FRAMES,
        frames_multiple=8,
        guidance_scale=4.0,
    )


def _transformer(**changes: Any) -> CogVideoXTransformer3DModel:
    torch.manual_seed(0)
    options = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": _CHANNELS,
        "out_channels": _CHANNELS,
        "time_embed_dim": 16,
        "text_embed_dim": _WIDTH,
        "num_layers": 2,
        "sample_width": _SIZE // 4,
        "sample_height": _SIZE // 4,
        "sample_frames": _FRAMES,
        "max_text_seq_length": _TEXT_TOKENS,
    }
    return livelier(CogVideoXTransformer3DModel(**{**options, **changes}))


def _text_encoder(vocabulary: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)
