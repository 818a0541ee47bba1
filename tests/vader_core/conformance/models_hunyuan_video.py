"""Small random HunyuanVideo pipelines: from text and from an image, with and without told guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.vader_core.conformance.small_parts import livelier, small_row
from vader_core.catalogue import BaseModelRow
from vader_core.tiny import world
from vader_core.tiny.tokenizers import clip_tokenizer, word_tokenizer

_CHANNELS, _WIDTH = 4, 16
# Five latent frames: two temporal tiles.
_FRAMES = 17
# The image-to-video pipeline counts on 24 x 24 tokens of an image.
_PATCHES, _PATCH = 24, 2
_BEGIN, _IMAGE, _PAD, _UNKNOWN = "<|begin_of_text|>", "<image>", "<pad>", "<unk>"
_SPECIAL = [
    _PAD,
    _UNKNOWN,
    _BEGIN,
    _IMAGE,
    "\n\n",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]


def build(folder: Path) -> BaseModelRow:
    """As published: one call a step, the transformer is told the guidance scale."""
    return _saved_text(folder, _transformer())


def build_guided(folder: Path) -> BaseModelRow:
    """A transformer that is not told the scale: guided by an unconditional call."""
    return _saved_text(folder, _transformer(guidance_embeds=False))


def build_image(folder: Path) -> BaseModelRow:
    """The first image in the place of the first latent frame."""
    return _saved_image(folder, _transformer(image_condition_type="token_replace"))


def build_image_joined(folder: Path) -> BaseModelRow:
    """The first image joined to the noisy latents, with a mask; guided by an unconditional call."""
    transformer = _transformer(
        image_condition_type="latent_concat",
        in_channels=2 * _CHANNELS + 1,
        out_channels=_CHANNELS,
        guidance_embeds=False,
    )
    return _saved_image(folder, transformer)


def autoencoder() -> AutoencoderKLHunyuanVideo:
    """1 + 4k frames to 1 + k latent ones, 8x8 pixels to one."""
    torch.manual_seed(2)
    return AutoencoderKLHunyuanVideo(
        latent_channels=_CHANNELS,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
    )


def _saved_text(folder: Path, transformer: HunyuanVideoTransformer3DModel) -> BaseModelRow:
    tokenizer = word_tokenizer()
    torch.manual_seed(1)
    config = _language_config(len(tokenizer))
    HunyuanVideoPipeline(
        text_encoder=LlamaModel(config),
        tokenizer=tokenizer,
        transformer=transformer,
        **_common_parts(),
    ).save_pretrained(folder)
    return _row(folder, "hunyuan_video", HunyuanVideoPipeline)


def _saved_image(folder: Path, transformer: HunyuanVideoTransformer3DModel) -> BaseModelRow:
    tokenizer = _image_tokenizer()
    edge = _PATCHES * _PATCH
    vision = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=edge,
        patch_size=_PATCH,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_language_config(len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(1)
    HunyuanVideoImageToVideoPipeline(
        text_encoder=livelier(LlavaForConditionalGeneration(config)),
        tokenizer=tokenizer,
        transformer=transformer,
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}
        ),
        **_common_parts(),
    ).save_pretrained(folder)
    return _row(folder, "hunyuan_video_image", HunyuanVideoImageToVideoPipeline)


def _row(folder: Path, family: str, pipeline_class: type) -> BaseModelRow:
    return small_row(folder, family, pipeline_class, size=(32, 16), num_frames=_FRAMES)


def _common_parts() -> dict[str, Any]:
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        eos_token_id=tokenizer.eos_token_id,
    )
    return {
        "vae": autoencoder(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": CLIPTextModel(config),
        "tokenizer_2": tokenizer,
    }


def _transformer(**changes: Any) -> HunyuanVideoTransformer3DModel:
    torch.manual_seed(0)
    options = {
        "in_channels": _CHANNELS,
        "out_channels": _CHANNELS,
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "text_embed_dim": _WIDTH,
        "pooled_projection_dim": 8,
        "rope_axes_dim": (2, 4, 4),
    }
    return livelier(HunyuanVideoTransformer3DModel(**{**options, **changes}))


def _language_config(vocabulary: int) -> LlamaConfig:
    """The pipelines take the states before the last two layers."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=_WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=7,
    )


def _image_tokenizer() -> PreTrainedTokenizerFast:
    """Words and, as the pipeline's template needs them, Llama's special tokens and an image's."""
    vocabulary = {
        piece: index for index, piece in enumerate(dict.fromkeys([*_SPECIAL, *world.words()]))
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False) for piece in _SPECIAL])
    # Long words are two, so that the template is as long as the pipeline takes it to be.
    halves = pre_tokenizers.Split(Regex(r"\w{1,8}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), halves])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BEGIN} $A", special_tokens=[(_BEGIN, vocabulary[_BEGIN])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=_PAD, unk_token=_UNKNOWN, bos_token=_BEGIN
    )
