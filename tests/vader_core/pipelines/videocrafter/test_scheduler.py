"""The scaled DDIM step against its closed form, written from the equations."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler

from vader_core.pipelines.videocrafter import ScaledDDIMScheduler


def alpha(timestep: int) -> float:
    """The product of 1 - beta up to `timestep`; betas are linear in their square roots."""
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    return math.prod(1 - (low + (high - low) * i / 999) ** 2 for i in range(timestep + 1))


def scale(timestep: int) -> float:
    return 1 - 0.3 * min(timestep, 399) / 399


def scheduler(steps: int) -> ScaledDDIMScheduler:
    made = ScaledDDIMScheduler()
    made.set_timesteps(steps)
    return made


def randn(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, 3, 4, 4, generator=generator, dtype=torch.float64)


def test_25_steps_visit_every_fortieth_timestep_from_961_to_1() -> None:
    assert scheduler(25).timesteps.tolist() == list(range(961, 0, -40))


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("timestep", [961, 401, 361, 41, 1])
def test_step_is_the_closed_form(timestep: int, eta: float) -> None:
    x, e, z = randn(1), randn(2), randn(3)
    previous = max(timestep - 40, 0)
    a, a_p, s, s_p = alpha(timestep), alpha(previous), scale(timestep), scale(previous)
    sigma = eta * math.sqrt((1 - a_p) / (1 - a) * (1 - a / a_p))
    original = (x - math.sqrt(1 - a) * e) / (math.sqrt(a) * s)
    expected = math.sqrt(a_p) * s_p * original + math.sqrt(1 - a_p - sigma**2) * e + sigma * z
    noise = {"variance_noise": z} if eta else {}
    got = scheduler(25).step(e, timestep, x, eta=eta, **noise)
    torch.testing.assert_close(got.pred_original_sample, original, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.prev_sample, expected, rtol=1e-4, atol=1e-4)


def test_a_step_with_the_true_noise_lands_on_the_noised_latents_of_the_next_timestep() -> None:
    made = scheduler(50)
    x_0, e = randn(4), randn(5)
    for timestep in (981, 401, 381, 21):
        now, after = torch.tensor([timestep]), torch.tensor([timestep - 20])
        got = made.step(e, timestep, made.add_noise(x_0, e, now), return_dict=False)[0]
        torch.testing.assert_close(got, made.add_noise(x_0, e, after), rtol=1e-5, atol=1e-5)


def test_without_scaling_it_is_ddim() -> None:
    made = ScaledDDIMScheduler(latent_scale_end=1.0)
    plain = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    for one in (made, plain):
        one.set_timesteps(25)
    generators = [torch.Generator().manual_seed(6) for _ in range(2)]
    got, expected = (
        one.step(randn(2), 481, randn(1), eta=1.0, generator=generator, return_dict=False)[0]
        for one, generator in zip((made, plain), generators, strict=True)
    )
    assert torch.equal(got, expected)


def test_the_gradient_reaches_the_prediction() -> None:
    e = randn(2).requires_grad_()
    previous = scheduler(25).step(e, 41, randn(1), eta=0.0, return_dict=False)[0]
    (gradient,) = torch.autograd.grad(previous.sum(), e)
    a, a_p, ratio = alpha(41), alpha(1), scale(1) / scale(41)
    expected = math.sqrt(1 - a_p) - math.sqrt(a_p) * ratio * math.sqrt(1 - a) / math.sqrt(a)
    torch.testing.assert_close(gradient, torch.full_like(gradient, expected), rtol=1e-3, atol=1e-5)


def test_a_scheduler_can_be_made_from_its_configuration() -> None:
    made = ScaledDDIMScheduler(latent_scale_end=0.5, latent_scale_steps=10)
    again = ScaledDDIMScheduler.from_config(made.config)
    assert torch.equal(again.latent_scales, made.latent_scales)
    assert again.latent_scales[9] == again.latent_scales[999] == 0.5
