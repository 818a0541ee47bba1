"""Small random video-text models of the published classes, as weight folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import CLIPTokenizer, XCLIPConfig, XCLIPModel
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.small_detectors import stirred
from vader_core.rewards.viclip import ViClipConfig, ViClipModel

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def xclip(folder: Path) -> XCLIPModel:
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(checks.TINY_CLIP)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = XCLIPConfig(
        text_config={
            **sizes,
            "num_attention_heads": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            **sizes,
            "num_attention_heads": 2,
            "mit_hidden_size": 16,
            "mit_intermediate_size": 32,
            "mit_num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "num_frames": 3,
        },
        projection_dim=16,
        prompt_num_attention_heads=2,
    )
    model = stirred(XCLIPModel(config))
    # Random weights make a lot of the one 8-bit level that processors round away.
    model.vision_model.embeddings.patch_embedding.weight.data *= 0.1
    model.save_pretrained(folder)
    # Older files have no crop size; so has microsoft/xclip-base-patch32.
    processor = {"do_center_crop": True, "size": 32, "resample": 2}
    processor |= {"image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    tokenizer.save_pretrained(folder)
    return model


def xclip_processor() -> VideoMAEImageProcessorPil:
    edges = {"height": 32, "width": 32}
    return VideoMAEImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=edges, image_mean=MEAN, image_std=STD
    )


def viclip_model() -> ViClipModel:
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(checks.TINY_CLIP)
    config = ViClipConfig(
        image_size=32,
        patch_size=16,
        num_frames=3,
        vision_width=16,
        vision_layers=2,
        text_width=16,
        text_layers=2,
        context_length=16,
        vocab_size=len(tokenizer),
        projection_dim=12,
        head_width=8,
    )
    return stirred(ViClipModel(config), by=0.1)


def viclip(folder: Path) -> ViClipModel:
    model = viclip_model()
    model.save_pretrained(folder)
    processor = {"size": {"height": 32, "width": 32}, "resample": 3}
    processor |= {"image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    CLIPTokenizer.from_pretrained(checks.TINY_CLIP).save_pretrained(folder)
    return model
