"""The reward's gradient by plain autograd through the pipeline's own call and its own decoding.

Shares nothing with vader_core's rollout: predictions are cut by forward hooks, as Algorithm 1 of the
paper cuts them, and everything else is one graph.
"""

from __future__ import annotations

from typing import Any

import torch

from tests.vader_core.tiny_models import PROMPTS, Scene
from vader_core.rewards import WeightedSum


def sampled(
    scene: Scene, *, differentiable_steps: int, guidance_gradient: str = "both"
) -> torch.Tensor:
    """Latents whose graph reaches the adapter through the last K predictions."""
    pipeline, video = scene.base.pipeline, scene.video
    calls = 0
    calls_per_step = 1 if scene.base.row.family == "text_to_video_sd" else 2

    def cut(module: Any, args: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        nonlocal calls
        step, call = divmod(calls, calls_per_step)
        calls += 1
        if step < len(pipeline.scheduler.timesteps) - differentiable_steps:
            return (output[0].detach(),)
        if guidance_gradient == "both":
            return output
        if calls_per_step == 2:
            return (output[0].detach(),) if call == 1 else output
        unconditional, conditional = output[0].chunk(2)
        return (torch.cat([unconditional.detach(), conditional]),)

    handle = scene.base.denoiser.register_forward_hook(cut)
    try:
        return type(pipeline).__call__.__wrapped__(
            pipeline,
            prompt_embeds=scene.conditions.cond["prompt_embeds"],
            negative_prompt_embeds=scene.conditions.uncond["prompt_embeds"],
            latents=scene.noise.to(scene.base.compute.dtype),
            width=video.width,
            height=video.height,
            num_frames=video.num_frames,
            num_inference_steps=video.inference_steps,
            guidance_scale=video.guidance_scale,
            output_type="latent",
            return_dict=False,
        )[0]
    finally:
        handle.remove()


def decoded(scene: Scene, latents: torch.Tensor) -> torch.Tensor:
    """All frames (B, F, 3, H, W) as the pipeline decodes and post-processes them.

    TextToVideoSDPipeline.decode_latents also rounds to float32, which would hide what is compared.
    """
    pipeline = scene.base.pipeline
    if scene.base.row.family == "text_to_video_sd":
        images = latents.transpose(1, 2).flatten(0, 1) / pipeline.vae.config.scaling_factor
        decoded = pipeline.vae.decode(images, return_dict=False)[0]
        video = decoded.unflatten(0, (len(latents), -1)).transpose(1, 2)
    else:
        config = pipeline.vae.config
        mean, std = (
            torch.tensor(figures).view(1, -1, 1, 1, 1).to(latents)
            for figures in (config.latents_mean, config.latents_std)
        )
        video = pipeline.vae.decode(latents * std + mean, return_dict=False)[0]
    return pipeline.video_processor.postprocess_video(video, output_type="pt")


def loss(
    scene: Scene, latents: torch.Tensor, reward: WeightedSum, frame_indices: torch.Tensor
) -> torch.Tensor:
    frames = decoded(scene, latents)
    chosen = torch.stack([frames[video, index] for video, index in enumerate(frame_indices)])
    _, scores = reward.score(chosen, PROMPTS, chunk_frames=chosen.shape[1])
    return -reward.objective(scores).mean()
