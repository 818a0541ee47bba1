"""A small random Stable Video Diffusion pipeline: image to video, decoded in one piece or in clips."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vader_core.catalogue import BaseModelRow

_FRAMES, _EMBEDDING = 4, 16


def build(folder: Path) -> BaseModelRow:
    """All frames decoded together."""
    torch.manual_seed(0)
    pipeline = StableVideoDiffusionPipeline(
        vae=_autoencoder(),
        image_encoder=_image_encoder(),
        unet=_unet(),
        # The published schedule's spacing and prediction; its largest sigma is 700.
        scheduler=EulerDiscreteScheduler(
            prediction_type="v_prediction",
            timestep_type="continuous",
            timestep_spacing="leading",
            use_karras_sigmas=True,
            sigma_min=0.002,
            sigma_max=20.0,
            steps_offset=1,
        ),
        feature_extractor=CLIPImageProcessorPil(),
    )
    pipeline.save_pretrained(folder)
    return BaseModelRow.model_validate(
        {
            "id": f"small-{folder.name}",
            "version": "1",
            "title": "A small random StableVideoDiffusionPipeline",
            "family": "stable_video_diffusion",
            "pipeline_class": "StableVideoDiffusionPipeline",
            "weights": {"folder": str(folder)},
            "folder": str(folder),
            "licence": "Apache-2.0",
            "needs_image": True,
            "sizes": {
                "multiple": 8,
                "min_pixels": 8,
                "max_pixels": 64,
                "frames_multiple": 1,
                "frames_offset": 0,
                "min_frames": 1,
                "max_frames": 8,
            },
            "defaults": {
                "width": 16,
                "height": 8,
                "num_frames": _FRAMES,
                "fps": 7,
                "inference_steps": 3,
                "guidance_scale": 3.0,
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
        }
    )


def build_clips(folder: Path) -> BaseModelRow:
    """Frames decoded in clips of two, as the pipeline does with decode_chunk_size.

    A clip size that does not divide the number of frames would make the reference, which decodes a
    batch as one long video, mix the last frames of a video with the first of the next.
    """
    return build(folder).model_copy(update={"call": {"decode_chunk_size": 2}})


def _autoencoder() -> AutoencoderKLTemporalDecoder:
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        block_out_channels=(32, 32),
        layers_per_block=1,
        scaling_factor=0.5,
    )


def _image_encoder() -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=224,
        patch_size=56,
        projection_dim=_EMBEDDING,
    )
    return CLIPVisionModelWithProjection(config)


def _unet() -> nn.Module:
    unet: nn.Module = UNetSpatioTemporalConditionModel(
        sample_size=16,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 32),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=_EMBEDDING,
        num_attention_heads=(2, 2),
        num_frames=_FRAMES,
    )
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "to_" in name:
                parameter.mul_(2.0)
    return unet
