"""Base models: diffusers pipelines from local folders, and what the trainer must know of each family.

Letters: B videos, C channels, f latent frames, F frames, H and W sizes, L text tokens, D text width.

A `Family` says how the pipeline class calls its denoiser, how its text is encoded, how its latents
become frames and which blocks of its denoiser are worth checkpointing. Samplers are not described:
`vader_core.rollout` runs the pipeline's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import nn
from transformers import CLIPTextModel, UMT5EncoderModel

from vader_core.catalogue import BaseModelRow
from vader_core.decoders import CausalVideoDecoder, Decoder, ImageDecoder, decode
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.spec import Video
from vader_core.weights import load_model, reading

Branch = Literal["cond", "uncond"]
# Wan's text encoder pads to a length of its choice; the pipeline's own default is 512.
_WAN_TEXT_TOKENS = 512


@dataclass(frozen=True)
class Family:
    """What differs between pipeline classes.

    `models` are the classes of the pipeline's parts that have weights, by name; `denoiser` is one of
    these names. `guidance_calls` lists the denoiser's calls of one guided step in order, each with the guidance
    branches that it stacks along the batch.
    """

    pipeline_class: Any
    models: dict[str, Any]
    denoiser: str
    guidance_calls: tuple[tuple[Branch, ...], ...]
    decoder: Callable[[Any], Decoder]
    blocks: Callable[[Any], list[nn.Module]]
    encode: Callable[[Any, str, Compute], torch.Tensor]
    latent_frames: Callable[[Any, int], int]
    spatial_scale: Callable[[Any], int]


def _encode_clip(pipeline: Any, text: str, compute: Compute) -> torch.Tensor:
    embeds_1LD: torch.Tensor = pipeline.encode_prompt(
        text, compute.device, 1, do_classifier_free_guidance=False
    )[0]
    return embeds_1LD


def _encode_wan(pipeline: Any, text: str, compute: Compute) -> torch.Tensor:
    embeds_1LD: torch.Tensor = pipeline.encode_prompt(
        text,
        do_classifier_free_guidance=False,
        max_sequence_length=min(_WAN_TEXT_TOKENS, pipeline.tokenizer.model_max_length),
        device=compute.device,
    )[0]
    return embeds_1LD


FAMILIES = {
    "text_to_video_sd": Family(
        pipeline_class=TextToVideoSDPipeline,
        models={
            "unet": UNet3DConditionModel,
            "vae": AutoencoderKL,
            "text_encoder": CLIPTextModel,
        },
        denoiser="unet",
        guidance_calls=(("uncond", "cond"),),
        decoder=ImageDecoder,
        blocks=lambda unet: [*unet.down_blocks, unet.mid_block, *unet.up_blocks],
        encode=_encode_clip,
        latent_frames=lambda pipeline, num_frames: num_frames,
        spatial_scale=lambda pipeline: int(pipeline.vae_scale_factor),
    ),
    "wan": Family(
        pipeline_class=WanPipeline,
        models={
            "transformer": WanTransformer3DModel,
            "vae": AutoencoderKLWan,
            "text_encoder": UMT5EncoderModel,
        },
        denoiser="transformer",
        guidance_calls=(("cond",), ("uncond",)),
        decoder=CausalVideoDecoder,
        blocks=lambda transformer: list(transformer.blocks),
        encode=_encode_wan,
        latent_frames=lambda pipeline, num_frames: (
            (num_frames - 1) // int(pipeline.vae_scale_factor_temporal) + 1
        ),
        spatial_scale=lambda pipeline: int(pipeline.vae_scale_factor_spatial),
    ),
}


@dataclass(frozen=True)
class PromptEmbeds:
    """The text conditions of B videos: their prompts' and the negative prompt's."""

    cond_BLD: torch.Tensor
    uncond_BLD: torch.Tensor


@dataclass
class BaseModel:
    """A frozen pipeline, ready to be sampled from; nothing in it but an adapter ever learns."""

    row: BaseModelRow
    pipeline: Any
    compute: Compute
    _embeds: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

    @property
    def family(self) -> Family:
        return FAMILIES[self.row.family]

    @property
    def denoiser(self) -> Any:
        return getattr(self.pipeline, self.family.denoiser)

    def latents_shape(self, video: Video, *, batch: int) -> tuple[int, int, int, int, int]:
        """(B, C, f, H, W) of the latents of `batch` videos of the resolved size `video`."""
        if video.num_frames is None or video.height is None or video.width is None:
            raise ValueError(
                "The video's size is not resolved: width, height and num_frames are due."
            )
        scale = self.family.spatial_scale(self.pipeline)
        channels = int(self.denoiser.config.in_channels)
        frames = self.family.latent_frames(self.pipeline, video.num_frames)
        return batch, channels, frames, video.height // scale, video.width // scale

    def encode_prompts(self, prompts: Sequence[str], negative: str) -> PromptEmbeds:
        """The embeddings of `prompts` and of `negative`, one row per prompt.

        Texts are encoded one by one, so that a row does not depend on its neighbours, and only once.
        Raises `KeyError` for a text that was not encoded before `drop_text_encoder`.
        """
        cond_BLD = torch.cat([self._embed(prompt) for prompt in prompts])
        return PromptEmbeds(cond_BLD, torch.cat([self._embed(negative)] * len(prompts)))

    def _embed(self, text: str) -> torch.Tensor:
        if text not in self._embeds:
            if self.pipeline.text_encoder is None:
                raise KeyError(f"{text!r} was not encoded before the text encoder was dropped")
            with torch.no_grad():
                self._embeds[text] = self.family.encode(self.pipeline, text, self.compute)
        return self._embeds[text]

    def drop_text_encoder(self) -> None:
        """Frees the text encoder's memory. Embeddings that were computed stay."""
        self.pipeline.text_encoder = None

    def decode(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        *,
        chunk_frames: int = 8,
    ) -> torch.Tensor:
        """The chosen frames (B, F, 3, H, W) in [0, 1], float32 or more precise.

        `frame_indices_BF` is int64 and rises within a video (`vader_core.frames`). Differentiable
        with respect to the latents; `chunk_frames` bounds the memory of that gradient and changes
        nothing else (`vader_core.decoders`).
        """
        return decode(self.decoder, latents_BCfHW, frame_indices_BF, chunk_frames=chunk_frames)

    @property
    def decoder(self) -> Decoder:
        return self.family.decoder(self.pipeline.vae)


def load(row: BaseModelRow, compute: Compute) -> BaseModel:
    """Loads the pipeline of `row` on `compute`, frozen and in evaluation mode.

    The denoiser and the text encoder get `compute.dtype`; the autoencoder at least float32. Only
    safetensors files in `row.folder` are read, and no code.
    Raises `WeightsUnreadable` where the folder is missing, incomplete or of another pipeline class.
    """
    family = FAMILIES[row.family]
    expected = f"a {family.pipeline_class.__name__} folder with safetensors weights"
    with reading(row.folder, needs=["model_index.json"], expected=expected):
        models = {
            name: load_model(
                model_class,
                row.folder,
                dtype=compute.precise_dtype if name == "vae" else compute.dtype,
                expected=expected,
                subfolder=name,
            )
            for name, model_class in family.models.items()
        }
        pipeline = family.pipeline_class.from_pretrained(
            row.folder, local_files_only=True, **models
        )
    if getattr(pipeline, "transformer_2", None) is not None:
        raise WeightsUnreadable(
            f"{row.folder} has two denoisers (transformer and transformer_2).",
            hint="Pipelines with one denoiser are supported, such as Wan 2.1 text-to-video.",
        )
    pipeline.to(compute.device)
    pipeline.set_progress_bar_config(disable=True)
    return BaseModel(row, pipeline, compute)
