"""VideoCrafter2's text-to-video pipeline.

Letters: B videos, C channels, f frames, H and W latent sizes, L text tokens, D text width.

Follows github.com/AILab-CVC/VideoCrafter (scripts/evaluation/inference.py and funcs.py,
scripts/run_text2video.sh): OpenCLIP ViT-H/14's text encoder without its last layer but with its last
norm, the empty text as the unconditional branch, guidance 12, DDIM with eta 1, and a frame rate that
conditions the motion. Deviation: both branches of guidance are one call of batch 2B, unconditional half
first, as in diffusers' own pipelines; the published script calls the denoiser twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from vader_core.pipelines.videocrafter.scheduler import ScaledDDIMScheduler
from vader_core.pipelines.videocrafter.unet import VideoCrafterUNet


@dataclass
class VideoCrafterPipelineOutput(BaseOutput):  # type: ignore[misc]
    """Frames in the form that `output_type` asked for."""

    frames: Any


class VideoCrafterPipeline(DiffusionPipeline, StableDiffusionLoraLoaderMixin):  # type: ignore[misc]
    """Text to video with VideoCrafter2."""

    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: VideoCrafterUNet,
        scheduler: ScaledDDIMScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(
            do_resize=False, vae_scale_factor=self.vae_scale_factor
        )

    def encode_prompt(self, texts: Sequence[str]) -> torch.Tensor:
        """The embeddings (B, L, D) of `texts`, each padded or cut to the encoder's length."""
        ids_BL = self.tokenizer(
            list(texts), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        # No mask: the model was trained on embeddings that let every token see the padding before it.
        embeds_BLD: torch.Tensor = self.text_encoder(ids_BL.to(self._execution_device))[0]
        return embeds_BLD

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        negative_prompt: str | Sequence[str] = "",
        height: int = 320,
        width: int = 512,
        num_frames: int = 16,
        num_inference_steps: int = 50,
        guidance_scale: float = 12.0,
        fps: int = 28,
        eta: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
    ) -> Any:
        """Videos of `prompt`, or of `prompt_embeds` (B, L, D).

        `fps` is what the model is told, not the speed of the file that is written later: smaller values
        give more motion between frames. `latents` is standard normal noise (B, C, f, H, W).
        `output_type` is "latent", "pt", "np" or "pil".
        """
        guided = guidance_scale > 1
        embeds = self._embeds(prompt, prompt_embeds)
        if guided:
            if isinstance(negative_prompt, str):
                negative_prompt = [negative_prompt] * len(embeds)
            negative = self._embeds(negative_prompt, negative_prompt_embeds)
            embeds = torch.cat([negative, embeds])
        videos = len(embeds) // 2 if guided else len(embeds)
        if latents is None:
            shape = self._latents_shape(videos, num_frames, height, width)
            latents = randn_tensor(
                shape, generator=generator, device=self._execution_device, dtype=embeds.dtype
            )
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        for timestep in self.progress_bar(self.scheduler.timesteps):
            doubled = torch.cat([latents] * 2) if guided else latents
            noise = self.unet(doubled, timestep, embeds, fps, return_dict=False)[0]
            if guided:
                uncond, cond = noise.chunk(2)
                noise = uncond + guidance_scale * (cond - uncond)
            latents = self.scheduler.step(
                noise, timestep, latents, eta=eta, generator=generator, return_dict=False
            )[0]
        frames = latents if output_type == "latent" else self._frames(latents, output_type)
        self.maybe_free_model_hooks()
        return VideoCrafterPipelineOutput(frames=frames) if return_dict else (frames,)

    def _embeds(
        self, texts: str | Sequence[str] | None, embeds: torch.Tensor | None
    ) -> torch.Tensor:
        if embeds is not None:
            return embeds.to(self._execution_device)
        if texts is None:
            raise ValueError("Give `prompt` or `prompt_embeds`.")
        return self.encode_prompt([texts] if isinstance(texts, str) else texts)

    def _latents_shape(
        self, videos: int, num_frames: int, height: int, width: int
    ) -> tuple[int, int, int, int, int]:
        scale = self.vae_scale_factor
        if height % scale or width % scale:
            raise ValueError(
                f"`height` and `width` are multiples of {scale}, not {height} and {width}."
            )
        channels = int(self.unet.config.in_channels)
        return videos, channels, num_frames, height // scale, width // scale

    def _frames(self, latents: torch.Tensor, output_type: str) -> Any:
        latents_NCHW = latents.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor
        # One frame at a time, as published: sixteen at once would need sixteen times the memory.
        images_NCHW = torch.cat(
            [self.vae.decode(one, return_dict=False)[0] for one in latents_NCHW.split(1)]
        )
        video = torch.unflatten(images_NCHW, 0, (len(latents), -1)).transpose(1, 2)
        return self.video_processor.postprocess_video(video, output_type)
