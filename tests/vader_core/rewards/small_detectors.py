"""Small random detectors of the published classes, as weight folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SwinConfig,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

LABELS = {0: "N/A", 1: "circle", 2: "square", 3: "book"}
# BERT's own numbers of the tokens that split the text into phrases.
VOCABULARY = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}


def yolos(folder: Path) -> YolosForObjectDetection:
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 48],
        patch_size=8,
        num_detection_tokens=5,
        use_mid_position_embeddings=True,
        id2label=LABELS,
    )
    model = stirred(YolosForObjectDetection(config))
    model.save_pretrained(folder)
    size = {"shortest_edge": 40, "longest_edge": 70}
    YolosImageProcessorPil(size=size).save_pretrained(folder)
    return model


def grounding_dino(folder: Path) -> GroundingDinoForObjectDetection:
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=_swin(),
        text_config=_bert(),
        num_queries=6,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        d_model=32,
        max_text_len=12,
    )
    model = stirred(GroundingDinoForObjectDetection(config), by=0.05)
    # Smaller logits: random weights are sure of everything in whatever picture. And queries that start
    # alike: it must not matter which of two places that are proposed about equally comes first.
    for parameter in model.model.decoder.layer_norm.parameters():
        parameter.data *= 0.1
    starts_QD = model.model.query_position_embeddings.weight.data
    starts_QD[:] = starts_QD[0].clone()
    model.save_pretrained(folder)
    size = {"shortest_edge": 48, "longest_edge": 70}
    GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)
    words = {"red": 200, "circle": 201, "book": 202}
    BertTokenizer(vocab=VOCABULARY | words).save_pretrained(folder)
    return model


def _swin() -> SwinConfig:
    return SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )


def _bert() -> BertConfig:
    return BertConfig(
        vocab_size=1100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )


def stirred(model: Any, by: float = 0.1) -> Any:
    """The model with every weight moved, since fresh ones leave many outputs the same for all pixels."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += by * torch.randn(parameter.shape, generator=generator)
    return model.eval()
