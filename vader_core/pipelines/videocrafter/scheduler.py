"""VideoCrafter2's sampler step: DDIM over latents that are shrunk by a factor of the timestep.

The model was trained on x_t = sqrt(a_t) s_t x_0 + sqrt(1 - a_t) e, where s_t falls linearly from 1 at
timestep 0 to `latent_scale_end` at timestep `latent_scale_steps` - 1 and stays there (`use_scale`,
`scale_b` and `mid_step` of github.com/AILab-CVC/VideoCrafter, lvdm/models/ddpm3d.py and
lvdm/models/samplers/ddim.py). A DDIM step (arXiv 2010.02502, equation 12) is then

    x_0 = (x_t - sqrt(1 - a_t) e) / (sqrt(a_t) s_t)
    x_p = sqrt(a_p) s_p x_0 + sqrt(1 - a_p - sigma^2) e + sigma z

p being the timestep after t. No scheduler of diffusers has a factor on x_0 that varies with t while
the noise keeps its own. The published sampler visits timesteps 1, 1 + 1000 // N, ... and takes a and s
of timestep 0 after the last; so does this one. Where N does not divide 1000 the published one takes
more than N steps; this one takes N.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput

# Pipelines are loaded with the base class that diffusers finds by name in the module of a part.
__all__ = ["ScaledDDIMScheduler", "SchedulerMixin"]


class ScaledDDIMScheduler(DDIMScheduler):  # type: ignore[misc]
    """`DDIMScheduler` with VideoCrafter2's settings and its scaled latents."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        trained_betas: list[float] | None = None,
        clip_sample: bool = False,
        set_alpha_to_one: bool = False,
        steps_offset: int = 1,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        clip_sample_range: float = 1.0,
        sample_max_value: float = 1.0,
        timestep_spacing: str = "leading",
        rescale_betas_zero_snr: bool = False,
        latent_scale_end: float = 0.7,
        latent_scale_steps: int = 400,
    ) -> None:
        super().__init__(
            num_train_timesteps=num_train_timesteps,
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule=beta_schedule,
            trained_betas=trained_betas,
            clip_sample=clip_sample,
            set_alpha_to_one=set_alpha_to_one,
            steps_offset=steps_offset,
            prediction_type=prediction_type,
            thresholding=thresholding,
            dynamic_thresholding_ratio=dynamic_thresholding_ratio,
            clip_sample_range=clip_sample_range,
            sample_max_value=sample_max_value,
            timestep_spacing=timestep_spacing,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
        )
        falling = torch.linspace(1.0, latent_scale_end, latent_scale_steps, dtype=torch.float64)
        rest = torch.full((num_train_timesteps,), latent_scale_end, dtype=torch.float64)
        self.latent_scales = torch.cat([falling, rest])[:num_train_timesteps].float()

    def step(
        self,
        model_output: torch.Tensor,
        timestep: int,
        sample: torch.Tensor,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        variance_noise: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """One step of `DDIMScheduler`, its estimate of x_0 unscaled, and scaled anew for the next timestep."""
        plain, scaled_original = super().step(
            model_output,
            timestep,
            sample,
            eta=eta,
            generator=generator,
            variance_noise=variance_noise,
            return_dict=False,
        )
        after = timestep - self.config.num_train_timesteps // self.num_inference_steps
        scale = self.latent_scales[timestep]
        scale_after = self.latent_scales[max(after, 0)]
        alpha_after = self.alphas_cumprod[after] if after >= 0 else self.final_alpha_cumprod
        original = scaled_original / scale
        previous = plain + alpha_after.sqrt() * (scale_after - scale) * original
        if not return_dict:
            return previous, original
        return DDIMSchedulerOutput(prev_sample=previous, pred_original_sample=original)

    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """The noised latents that the model was trained on."""
        scales = self.latent_scales.to(original_samples)[timesteps.to(original_samples.device)]
        scales = scales.view(-1, *[1] * (original_samples.ndim - 1))
        noised: torch.Tensor = super().add_noise(original_samples * scales, noise, timesteps)
        return noised
