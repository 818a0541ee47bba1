"""Open-Sora 1.2's text-to-video pipeline: T5 text, rectified flow, and its transform of timesteps.

From hpcaitech/Open-Sora, tag v1.2.0: scripts/inference.py, opensora/schedulers/rf/ and
configs/opensora-v1-2/inference/sample.py, whose settings are the defaults here.

Sampling is diffusers' `FlowMatchEulerDiscreteScheduler` with dynamic shifting. Its exponential shift,
r t / (1 + (r - 1) t) with r = exp(mu), is Open-Sora's transform, r being the root of the video's pixels
over 512 x 512 times the root of its latent frames. Open-Sora predicts the velocity from noise to data,
diffusers' scheduler steps along the one from data to noise: the sign is turned between them.

Guidance stacks both branches in one call of the denoiser, the conditional half first. The unconditional
branch is a learned text of the denoiser's own, of which it sees as many tokens as the prompt has. A
negative prompt, which the published sampler does not know, takes its place.

The published sampler rounds height and width to bf16 in r; here r is exact.

Letters: B videos, C channels, f latent frames, H and W latent sizes, K text tokens, D text width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.loaders import Mochi1LoraLoaderMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from transformers import PreTrainedTokenizerBase, T5EncoderModel

from vader_core.pipelines.open_sora.autoencoder import AutoencoderKLOpenSora
from vader_core.pipelines.open_sora.sizes import video_size
from vader_core.pipelines.open_sora.text import training_text
from vader_core.pipelines.open_sora.transformer import OpenSoraTransformer3DModel

# The area that the transform of timesteps leaves as it is.
_BASE_PIXELS = 512 * 512
# The frame rate that stands for a single image.
_IMAGE_FPS = 120
# Called after each step; returns what is to be changed.
StepCallback = Callable[[Any, int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@dataclass
class OpenSoraPipelineOutput(BaseOutput):  # type: ignore[misc]
    """Videos in the form that `output_type` asked for."""

    frames: Any


@dataclass(frozen=True)
class _Text:
    """Text features (B, K, D) and which of them are not padding (B, K)."""

    embeds_BKD: torch.Tensor
    mask_BK: torch.Tensor


@dataclass(frozen=True)
class _Video:
    """What the denoiser is told of the video."""

    num_frames: int
    height: int
    width: int
    fps: float


# The mixin is the one that knows nothing of its model but that it is the part `transformer`.
class OpenSoraPipeline(DiffusionPipeline, Mochi1LoraLoaderMixin):  # type: ignore[misc]
    """Text to video with Open-Sora 1.2."""

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: T5EncoderModel,
        transformer: OpenSoraTransformer3DModel,
        vae: AutoencoderKLOpenSora,
        scheduler: FlowMatchEulerDiscreteScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            transformer=transformer,
            vae=vae,
            scheduler=scheduler,
        )
        self.vae_scale_factor_spatial = vae.scale_factor_spatial
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_scale_factor_spatial)

    def encode_prompt(
        self,
        prompt: str | Sequence[str],
        *,
        aesthetic_score: float | None = 6.5,
        device: torch.device | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Text features (B, K, D) of `prompt` and their mask (B, K).

        `aesthetic_score` is put at the end of prompts that name none, as in training; above 6 is
        recommended, None leaves it out.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        tokens = self.tokenizer(
            [training_text(text, aesthetic_score) for text in prompts],
            max_length=self.transformer.config.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).to(device or self._execution_device)
        features = self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)
        return features.last_hidden_state, tokens.attention_mask

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        negative_prompt: str | Sequence[str] | None = None,
        resolution: str = "240p",
        aspect_ratio: str = "9:16",
        height: int | None = None,
        width: int | None = None,
        num_frames: int = 51,
        fps: float = 24,
        num_inference_steps: int = 30,
        guidance_scale: float = 7.0,
        aesthetic_score: float | None = 6.5,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        negative_prompt_attention_mask: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
    ) -> OpenSoraPipelineOutput | tuple[Any]:
        """Videos of `prompt`, or of `prompt_embeds` (B, K, D) with `prompt_attention_mask` (B, K).

        `height` and `width` are in pixels; where one is not given `resolution` and `aspect_ratio` say
        both (`sizes.py`). Without `negative_prompt` and `negative_prompt_embeds` the unconditional
        branch is the model's own. `fps` is what the model is told. `latents` is standard normal noise
        (B, C, f, H, W). `output_type` is "latent", "pt", "np" or "pil". `callback_on_step_end` is
        called with the pipeline, the step, its timestep and the latents.

        Raises `ValueError` for arguments that are missing or do not fit.
        """
        if height is None or width is None:
            height, width = video_size(resolution, aspect_ratio)
        scale = self.vae_scale_factor_spatial
        if height % scale or width % scale or num_frames < 1:
            raise ValueError(
                f"A video has sides in multiples of {scale} and at least one frame, "
                f"not {width} x {height} and {num_frames}."
            )
        video = _Video(num_frames, height, width, fps if num_frames > 1 else _IMAGE_FPS)
        texts = [self._text(prompt, prompt_embeds, prompt_attention_mask, aesthetic_score)]
        if guidance_scale > 1:
            negative = (negative_prompt_embeds, negative_prompt_attention_mask)
            texts.append(self._negative(texts[0], negative_prompt, *negative, aesthetic_score))
        if latents is None:
            latents = self._noise(len(texts[0].mask_BK), video, generator)
        self._set_timesteps(num_inference_steps, video)
        latents = self._denoised(latents, texts, video, guidance_scale, callback_on_step_end)
        frames = latents if output_type == "latent" else self._frames(latents, video, output_type)
        self.maybe_free_model_hooks()
        return OpenSoraPipelineOutput(frames=frames) if return_dict else (frames,)

    def _denoised(
        self,
        latents: torch.Tensor,
        texts: list[_Text],
        video: _Video,
        guidance_scale: float,
        callback: StepCallback | None,
    ) -> torch.Tensor:
        embeds_BKD = torch.cat([text.embeds_BKD for text in texts])
        mask_BK = torch.cat([text.mask_BK for text in texts])
        for index, timestep in enumerate(self.progress_bar(self.scheduler.timesteps)):
            velocity = self.transformer(
                torch.cat([latents] * len(texts)),
                timestep.expand(len(mask_BK)),
                embeds_BKD,
                mask_BK,
                fps=video.fps,
                height=video.height,
                width=video.width,
                return_dict=False,
            )[0]
            if len(texts) > 1:
                cond, uncond = velocity.chunk(2)
                velocity = uncond + guidance_scale * (cond - uncond)
            latents = self.scheduler.step(-velocity, timestep, latents, return_dict=False)[0]
            if callback is not None:
                latents = callback(self, index, timestep, {"latents": latents}).get(
                    "latents", latents
                )
        return latents

    def _text(
        self,
        prompt: str | Sequence[str] | None,
        embeds_BKD: torch.Tensor | None,
        mask_BK: torch.Tensor | None,
        aesthetic_score: float | None,
    ) -> _Text:
        if embeds_BKD is None:
            if prompt is None:
                raise ValueError("Give `prompt` or `prompt_embeds`.")
            embeds_BKD, mask_BK = self.encode_prompt(prompt, aesthetic_score=aesthetic_score)
        if mask_BK is None:
            mask_BK = embeds_BKD.new_ones(embeds_BKD.shape[:2])
        device = self._execution_device
        return _Text(embeds_BKD.to(device), mask_BK.to(device, torch.bool))

    def _negative(
        self,
        cond: _Text,
        prompt: str | Sequence[str] | None,
        embeds_BKD: torch.Tensor | None,
        mask_BK: torch.Tensor | None,
        aesthetic_score: float | None,
    ) -> _Text:
        """The text of the unconditional branch, with as many rows and tokens as `cond` has."""
        tokens = cond.mask_BK.shape[1]
        null_KD = self.transformer.null_caption[:tokens].to(cond.embeds_BKD)
        null = _Text(null_KD.expand_as(cond.embeds_BKD), cond.mask_BK)
        prompts = [prompt] * len(cond.mask_BK) if isinstance(prompt, str) else prompt
        if embeds_BKD is None and not any(prompts or []):
            return null
        text = self._text(prompts, embeds_BKD, mask_BK, aesthetic_score)
        if text.embeds_BKD.shape != cond.embeds_BKD.shape:
            raise ValueError(
                f"The negative prompt's features have the shape {tuple(text.embeds_BKD.shape)}, "
                f"and the prompt's {tuple(cond.embeds_BKD.shape)}: they are to be equal."
            )
        if embeds_BKD is not None or prompts is None:
            return text
        is_empty_B = torch.tensor([not one for one in prompts], device=cond.mask_BK.device)
        return _Text(
            torch.where(is_empty_B[:, None, None], null.embeds_BKD, text.embeds_BKD),
            torch.where(is_empty_B[:, None], null.mask_BK, text.mask_BK),
        )

    def _noise(
        self,
        videos: int,
        video: _Video,
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> torch.Tensor:
        scale = self.vae_scale_factor_spatial
        channels, frames = (
            self.transformer.config.in_channels,
            self.vae.latent_frames(video.num_frames),
        )
        noise: torch.Tensor = randn_tensor(
            (videos, channels, frames, video.height // scale, video.width // scale),
            generator=generator,
            device=self._execution_device,
            dtype=torch.float32,
        )
        return noise

    def _set_timesteps(self, steps: int, video: _Video) -> None:
        # As published, only whole windows of frames count, and a single image as one latent frame.
        windows = video.num_frames // self.vae.config.micro_frame_size
        latent_frames = max(1, windows * self.vae.window_latents)
        ratio = math.sqrt(video.height * video.width / _BASE_PIXELS) * math.sqrt(latent_frames)
        self.scheduler.set_timesteps(
            sigmas=[1 - step / steps for step in range(steps)],
            mu=math.log(ratio),
            device=self._execution_device,
        )

    def _frames(self, latents_BCfHW: torch.Tensor, video: _Video, output_type: str) -> Any:
        mean, std = (
            latents_BCfHW.new_tensor(figures).view(1, -1, 1, 1, 1)
            for figures in (self.vae.config.latents_mean, self.vae.config.latents_std)
        )
        unscaled = (latents_BCfHW * std + mean).to(self.vae.dtype)
        frames_BCFHW = self.vae.decode(unscaled, video.num_frames, return_dict=False)[0]
        return self.video_processor.postprocess_video(frames_BCFHW, output_type)
