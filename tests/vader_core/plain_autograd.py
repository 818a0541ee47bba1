"""The reward's gradient by plain autograd through the pipeline's own call and its own decoding.

Shares nothing with vader_core's rollout: predictions are cut by forward hooks, as Algorithm 1 of the
paper cuts them, and everything else is one graph.
"""

from __future__ import annotations

from typing import Any

import torch

from tests.vader_core.tiny_models import PROMPTS, Scene
from vader_core.method_spec import RelativePrompt
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


class PlainSampler:
    """A tiny scene's sampler step by step, without vader_core: samples are (B, C, f, H, W).

    `levels` are signal and noise (alpha_i, sigma_i) at the input of every step, and (1, 0) at the end.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene, self._scheduler = scene, scene.base.pipeline.scheduler
        self.flows = scene.base.row.family == "wan"
        self._scheduler.set_timesteps(scene.video.inference_steps)
        self.steps = len(self._scheduler.timesteps)
        if self.flows:
            noises = [float(sigma) for sigma in self._scheduler.sigmas[: self.steps]]
            self.levels = [(1 - sigma, sigma) for sigma in noises]
        else:
            signals = self._scheduler.alphas_cumprod[self._scheduler.timesteps].double().tolist()
            self.levels = [(signal**0.5, (1 - signal) ** 0.5) for signal in signals]
        self.levels.append((1.0, 0.0))

    def branches(self, index: int, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The unconditional and the conditional prediction."""
        scene = self._scene
        step = self._scheduler.timesteps[index].expand(len(sample))
        texts = (scene.conditions.uncond["prompt_embeds"], scene.conditions.cond["prompt_embeds"])
        uncond, cond = (
            scene.base.denoiser(
                sample.to(scene.base.compute.dtype),
                timestep=step,
                encoder_hidden_states=text,
                return_dict=False,
            )[0]
            for text in texts
        )
        return uncond, cond

    def predicted(self, index: int, sample: torch.Tensor) -> torch.Tensor:
        uncond, cond = self.branches(index, sample)
        return uncond + self._scene.video.guidance_scale * (cond - uncond)

    def clean(self, index: int, sample: torch.Tensor) -> torch.Tensor:
        """The prediction of the clean sample: equation 12 of arXiv 2010.02502, or x - t v of a flow."""
        alpha, sigma = self.levels[index]
        output = self.predicted(index, sample)
        return sample - sigma * output if self.flows else (sample - sigma * output) / alpha

    def following(self, index: int, sample: torch.Tensor) -> torch.Tensor:
        """What the scheduler itself makes of a sample."""
        self._scheduler.set_timesteps(self.steps)
        step = self._scheduler.timesteps[index]
        return self._scheduler.step(self.predicted(index, sample), step, sample, return_dict=False)[
            0
        ]

    @torch.no_grad()
    def trajectory(self) -> list[torch.Tensor]:
        """The N + 1 samples of the scene's videos, without a graph."""
        samples = [self._scene.noise.to(self._scene.base.compute.dtype)]
        for index in range(self.steps):
            samples.append(self.following(index, samples[-1]))
        return samples


def variant_loss(
    scene: Scene,
    latents: torch.Tensor,
    reward: WeightedSum,
    frame_indices: torch.Tensor,
    *,
    centre_decay: float = 0.0,
    relative_prompt: RelativePrompt | None = None,
    worst_case_radius: float = 0.0,
) -> torch.Tensor:
    """Minus the mean of what the variants of `vader_core.frame_gradient` climb, frame by frame.

    The worst video's displacement is a constant: no gradient runs through the way it was found.
    """
    whole = decoded(scene, latents)
    chosen = torch.stack([whole[video, index] for video, index in enumerate(frame_indices)])
    middle, half = (whole.shape[1] - 1) / 2, whole.shape[1] / 2
    weights = torch.exp(-centre_decay * (frame_indices - middle).abs() / half)
    weights = weights / weights.sum(1, keepdim=True)

    def climbed(frames: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(frames), dtype=frames.dtype)
        for term in reward.terms:
            for words, sign in _words(relative_prompt):
                prompts = [one.model_copy(update={"prompt": words + one.prompt}) for one in PROMPTS]
                scores = [term.reward.score(frame[:, None], prompts) for frame in frames.unbind(1)]
                total = total + sign * term.weight * (weights * torch.stack(scores, 1)).sum(1)
        return total

    (grad,) = torch.autograd.grad(climbed(chosen).sum(), chosen, retain_graph=True)
    rms = grad.square().mean((1, 2, 3, 4), keepdim=True).sqrt()
    worst = (chosen - worst_case_radius * grad / rms).clamp(0, 1)
    return -climbed(chosen + (worst - chosen).detach()).mean()


def _words(relative_prompt: RelativePrompt | None) -> list[tuple[str, float]]:
    if relative_prompt is None:
        return [("", 1.0)]
    return [(f"{relative_prompt.wanted}. ", 1.0), (f"{relative_prompt.unwanted}. ", -1.0)]
