"""Small random Wan and SkyReels V2 pipelines: text and image to video, one denoiser and two experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    DiffusionPipeline,
    SkyReelsV2ImageToVideoPipeline,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

_CHANNELS, _TEXT_WIDTH, _IMAGE_WIDTH, _IMAGE_SIZE = 4, 16, 24, 14
# The transformers tell text from image tokens by a text of 512 tokens.
_TEXT_TOKENS = 512


def build(folder: Path) -> BaseModelRow:
    """Wan 2.1 from text."""
    return _saved(folder, "wan", WanPipeline, transformer=_transformer(WanTransformer3DModel))


def build_experts(folder: Path) -> BaseModelRow:
    """Wan 2.2 A14B from text: of three steps, the first two are the high-noise expert's."""
    parts = {
        "transformer": _transformer(WanTransformer3DModel, seed=1),
        "transformer_2": _transformer(WanTransformer3DModel, seed=2),
        "boundary_ratio": 0.7,
    }
    return _saved(folder, "wan", WanPipeline, call={"guidance_scale_2": 3.0}, **parts)


def build_expanded(folder: Path) -> BaseModelRow:
    """Wan 2.2 TI2V 5B from text: a timestep for every token, an autoencoder of patches."""
    transformer = _transformer(WanTransformer3DModel)
    return _saved(folder, "wan", WanPipeline, transformer=transformer, expand_timesteps=True)


def build_image(folder: Path) -> BaseModelRow:
    """Wan 2.1 from an image: mask and latents joined to the noisy ones, and CLIP's tokens."""
    transformer = _transformer(WanTransformer3DModel, **_image_inputs(), **_image_tokens())
    encoder = _image_encoder(CLIPVisionModel)
    return _saved(folder, "wan_image", WanImageToVideoPipeline, transformer=transformer, **encoder)


def build_image_experts(folder: Path) -> BaseModelRow:
    """Wan 2.2 A14B from an image: two experts, no image encoder."""
    parts = {
        "transformer": _transformer(WanTransformer3DModel, seed=1, **_image_inputs()),
        "transformer_2": _transformer(WanTransformer3DModel, seed=2, **_image_inputs()),
        "boundary_ratio": 0.7,
    }
    return _saved(folder, "wan_image", WanImageToVideoPipeline, **parts)


def build_image_expanded(folder: Path) -> BaseModelRow:
    """Wan 2.2 TI2V 5B from an image: the folder says that it is a text-to-video pipeline."""
    row = build_expanded(folder)
    return row.model_copy(
        update={
            "id": "small-wan-image-expanded",
            "family": "wan_image",
            "pipeline_class": "WanImageToVideoPipeline",
            "needs_image": True,
        }
    )


def build_skyreels(folder: Path) -> BaseModelRow:
    """SkyReels V2 from text."""
    transformer = _transformer(SkyReelsV2Transformer3DModel)
    return _saved(folder, "skyreels", SkyReelsV2Pipeline, transformer=transformer)


def build_skyreels_image(folder: Path) -> BaseModelRow:
    """SkyReels V2 from an image."""
    parts = _image_inputs() | _image_tokens()
    return _saved(
        folder,
        "skyreels_image",
        SkyReelsV2ImageToVideoPipeline,
        transformer=_transformer(SkyReelsV2Transformer3DModel, **parts),
        **_image_encoder(CLIPVisionModelWithProjection),
    )


def _saved(
    folder: Path,
    family: str,
    pipeline_class: Any,
    *,
    call: dict[str, Any] | None = None,
    **parts: Any,
) -> BaseModelRow:
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    tokenizer.model_max_length = _TEXT_TOKENS
    expanded = "expand_timesteps" in parts
    pipeline: DiffusionPipeline = pipeline_class(
        vae=_patched_autoencoder() if expanded else _autoencoder(),
        text_encoder=_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        **parts,
    )
    pipeline.save_pretrained(folder)
    multiple = 16 if expanded else 8
    return BaseModelRow.model_validate(
        {
            "id": f"small-{folder.name}",
            "version": "1",
            "title": f"A small random {pipeline_class.__name__}",
            "family": family,
            "pipeline_class": pipeline_class.__name__,
            "weights": {"folder": str(folder)},
            "folder": str(folder),
            "licence": "Apache-2.0",
            "needs_image": "image" in family,
            "sizes": {
                "multiple": 16,
                "min_pixels": 16,
                "max_pixels": 64,
                "frames_multiple": 4,
                "frames_offset": 1,
                "min_frames": 1,
                "max_frames": 9,
            },
            "defaults": {
                "width": 2 * multiple,
                "height": multiple if expanded else 16,
                "num_frames": 9,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": 4.0,
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
            "call": call or {},
        }
    )


def _transformer(model_class: Any, *, seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    options = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": _CHANNELS,
        "out_channels": _CHANNELS,
        "text_dim": _TEXT_WIDTH,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": 2,
        "cross_attn_norm": True,
        "rope_max_seq_len": 32,
    }
    return _livelier(model_class(**{**options, **changes}))


def _image_inputs() -> dict[str, int]:
    """Noisy latents, the mask of four frames, the first image's latents."""
    return {"in_channels": 2 * _CHANNELS + 4}


def _image_tokens() -> dict[str, int]:
    return {"image_dim": _IMAGE_WIDTH, "added_kv_proj_dim": 24}


def _image_encoder(model_class: Any) -> dict[str, Any]:
    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=_IMAGE_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=_IMAGE_SIZE,
        patch_size=7,
    )
    edges = {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": _IMAGE_SIZE}, crop_size=edges)
    return {"image_encoder": _livelier(model_class(config)), "image_processor": processor}


def _autoencoder() -> AutoencoderKLWan:
    """Both temporal compressions: 1 + 4k frames to 1 + k latent ones, 4x4 pixels to one."""
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=_CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.7, 1.1, 0.9],
        scale_factor_temporal=4,
        scale_factor_spatial=4,
    )


def _patched_autoencoder() -> AutoencoderKLWan:
    """As Wan 2.2's: residual, on patches of 2x2 pixels, the decoder wider than the encoder."""
    return AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=12,
        z_dim=_CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.7, 1.1, 0.9],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_temporal=4,
        scale_factor_spatial=8,
    )


def _text_encoder(vocabulary: int) -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=vocabulary,
        d_model=_TEXT_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return UMT5EncoderModel(config)


def _livelier(model: nn.Module) -> nn.Module:
    """Larger weights than a fresh model's, so that the output follows every input."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2.0)
    return model
