"""Letters: B samples of a toy process in one dimension, where one is a video and a row of its own."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tests.vader_core.tiny_models import NAMES, generators, scene
from vader_core import rollout
from vader_core.errors import SpecUnusable
from vader_core.method_spec import MethodSettings
from vader_core.methods.stochastic_sampler import StochasticSampler, Transition
from vader_core.process import Prediction, Process

MEAN, DEVIATION = 0.7, 0.4
DDIM = StochasticSampler(1.0, flow="ddim")


def process(prediction: Prediction, alphas: torch.Tensor, sigmas: torch.Tensor) -> Process:
    end = torch.tensor([1.0, 0.0], dtype=torch.float64)
    return Process(
        prediction,
        torch.cat([alphas.double(), end[:1]]),
        torch.cat([sigmas.double(), end[1:]]),
    )


def preserving(steps: int, prediction: Prediction = "epsilon") -> Process:
    angles = torch.linspace(1.5, 0.05, steps, dtype=torch.float64)
    return process(prediction, angles.cos(), angles.sin())


def flow(steps: int) -> Process:
    sigmas = torch.linspace(1.0, 1 / steps, steps, dtype=torch.float64)
    return process("flow", 1 - sigmas, sigmas)


def exploding(steps: int) -> Process:
    return process("v", torch.ones(steps), torch.logspace(1.5, -2, steps, dtype=torch.float64))


def output_of(toy: Process, step: int, sample_B: torch.Tensor) -> torch.Tensor:
    """What the best denoiser predicts where the data are normal with `MEAN` and `DEVIATION`."""
    alpha, sigma = float(toy.alphas[step]), float(toy.sigmas[step])
    gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
    clean_B = MEAN + gain * (sample_B - alpha * MEAN)
    return toy.target(step, clean_B, (sample_B - alpha * clean_B) / sigma)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def drawn(sampler: StochasticSampler, toy: Process, count: int) -> list[torch.Tensor]:
    """The N + 1 samples of `count` independent trajectories from the process's own start."""
    generator = seeded()

    def noise() -> torch.Tensor:
        return torch.randn(count, generator=generator, dtype=torch.float64)

    samples = [toy.noised(0, MEAN + DEVIATION * noise(), noise())]
    for step in range(toy.steps):
        output = output_of(toy, step, samples[-1])
        after = sampler.transition(toy, step, output, samples[-1])
        samples.append(after.mean + after.std * noise())
    return samples


@pytest.mark.parametrize(
    ("toy", "sampler"),
    [
        (preserving(200), DDIM),
        (preserving(200, "v"), StochasticSampler(0.5, flow="sde")),
        (exploding(400), DDIM),
        (flow(200), DDIM),
        (flow(400), StochasticSampler(0.7, flow="sde")),
    ],
    ids=["ddim", "ddim-v", "ddim-exploding", "ddim-flow", "sde-flow"],
)
def test_samples_have_the_data_s_mean_and_deviation(
    toy: Process, sampler: StochasticSampler
) -> None:
    count = 20_000
    clean_B = drawn(sampler, toy, count)[-1]
    # Four standard errors of each, and what steps of this size may be off by.
    assert float(clean_B.mean()) == pytest.approx(
        MEAN, abs=4 * DEVIATION / math.sqrt(count) + 0.005
    )
    assert float(clean_B.std()) == pytest.approx(
        DEVIATION, abs=4 * DEVIATION / math.sqrt(2 * count) + 0.01
    )


@pytest.mark.parametrize(
    ("toy", "sampler"),
    [(preserving(12), DDIM), (flow(12), StochasticSampler(0.7, flow="sde")), (exploding(12), DDIM)],
    ids=["preserving", "flow", "exploding"],
)
def test_log_probabilities_add_up_to_that_of_the_trajectory(
    toy: Process, sampler: StochasticSampler
) -> None:
    """Every step is linear in the sample, so all samples of a trajectory are jointly normal."""
    samples = drawn(sampler, toy, 5)
    start = Normal(samples[0].mean(), 1.0)
    steps = sampler.noisy_steps(toy)
    assert steps == list(range(len(steps)))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    means, covariance = [start.mean], torch.ones(1, 1, dtype=torch.float64)
    total_B = start.log_prob(samples[0])
    for step in steps:
        at_zero = sampler.transition(toy, step, output_of(toy, step, zero), zero)
        at_one = sampler.transition(toy, step, output_of(toy, step, one), one)
        slope = (at_one.mean - at_zero.mean).item()
        means.append(slope * means[-1] + at_zero.mean[0])
        column = slope * covariance[:, -1:]
        corner = slope * column[-1:] + at_zero.std**2
        covariance = torch.cat(
            [torch.cat([covariance, column], 1), torch.cat([column.T, corner], 1)]
        )
        after = sampler.transition(toy, step, output_of(toy, step, samples[step]), samples[step])
        total_B = total_B + after.log_prob_B(samples[step + 1], videos=5)
    joint = MultivariateNormal(torch.stack(means), covariance)
    seen = torch.stack(samples[: len(means)], 1)
    torch.testing.assert_close(total_B, joint.log_prob(seen), rtol=1e-6, atol=1e-6)


def test_densities_are_means_over_the_elements_of_each_video() -> None:
    mean, other, following = torch.randn(3, 6, 4, 5, generator=seeded(), dtype=torch.float64)
    after = Transition(mean, 0.3)
    expected = Normal(mean, 0.3).log_prob(following).reshape(2, -1).mean(1)
    torch.testing.assert_close(after.log_prob_B(following, videos=2), expected)
    divergence = kl_divergence(Normal(mean, 0.3), Normal(other, 0.3)).reshape(2, -1).mean(1)
    torch.testing.assert_close(after.kl_B(other, videos=2), divergence)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_variance_preserving_steps_are_those_of_diffusers_ddim(eta: float) -> None:
    scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(5)
    signal = scheduler.alphas_cumprod[scheduler.timesteps].double()
    toy = process("epsilon", signal.sqrt(), (1 - signal).sqrt())
    sample, output, noise = torch.randn(3, 2, 3, generator=seeded(), dtype=torch.float64)
    for step, timestep in enumerate(scheduler.timesteps[:-1]):
        theirs = scheduler.step(output, timestep, sample, eta=eta, variance_noise=noise)
        ours = StochasticSampler(eta, flow="ddim").transition(toy, step, output, sample)
        torch.testing.assert_close(
            ours.mean + ours.std * noise, theirs.prev_sample, rtol=1e-5, atol=1e-5
        )


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_exploding_steps_are_those_of_the_ancestral_sampler() -> None:
    scheduler = EulerAncestralDiscreteScheduler()
    scheduler.set_timesteps(6)
    toy = process("epsilon", torch.ones(6), scheduler.sigmas[:-1])
    sample, output = torch.randn(2, 2, 3, generator=seeded())
    for step, timestep in enumerate(scheduler.timesteps[:-1]):
        scheduler.is_scale_input_called = True
        noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(step))
        theirs = scheduler.step(
            output, timestep, sample, generator=torch.Generator().manual_seed(step)
        )
        ours = DDIM.transition(toy, step, output, sample)
        torch.testing.assert_close(
            ours.mean + ours.std * noise, theirs.prev_sample, rtol=1e-4, atol=1e-4
        )


def test_the_flow_sde_is_the_paper_s() -> None:
    toy, level = flow(4), 0.7
    sample, velocity = torch.randn(2, 3, generator=seeded(), dtype=torch.float64)
    after = StochasticSampler(level, flow="sde").transition(toy, 1, velocity, sample)
    time, interval = 0.75, -0.25
    diffusion = level * math.sqrt(time / (1 - time))
    drift = velocity + diffusion**2 / (2 * time) * (sample + (1 - time) * velocity)
    torch.testing.assert_close(after.mean, sample + drift * interval)
    assert after.std == pytest.approx(diffusion * math.sqrt(-interval))


@pytest.mark.parametrize("sampler", [DDIM, StochasticSampler(0.7, flow="sde")])
def test_steps_without_visible_noise_have_no_density(sampler: StochasticSampler) -> None:
    toy = process("flow", torch.tensor([0.0, 0.5, 0.999]), torch.tensor([1.0, 0.5, 0.001]))
    quiet = [2] if sampler.flow == "sde" else [1, 2]
    assert sampler.noisy_steps(toy) == [step for step in range(3) if step not in quiet]
    sample, output = torch.randn(2, 3, generator=seeded(), dtype=torch.float64)
    for step in quiet:
        after = sampler.transition(toy, step, output, sample)
        assert after.std == 0
        assert torch.equal(after.mean, toy.step(step, output, sample))


def test_what_cannot_be_sampled_is_said() -> None:
    with pytest.raises(SpecUnusable, match="leaves noise behind"):
        DDIM.noisy_steps(flow(1))
    with pytest.raises(SpecUnusable, match=r"at most 1, not 1\.5"):
        StochasticSampler(1.5, flow="sde").noisy_steps(preserving(4))
    assert StochasticSampler(1.5, flow="sde").noisy_steps(flow(4)) == [0, 1, 2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_a_model_s_videos_are_draws_from_the_transitions(name: str, guidance_scale: float) -> None:
    sampler = StochasticSampler(0.7, flow="sde")
    made = scene(name, torch.float32, inference_steps=4, guidance_scale=guidance_scale)
    batch = rollout.Batch(made.base, made.conditions, made.noise, made.video, generators(2))
    trajectory = rollout.record(batch, sampler=sampler)
    z: list[torch.Tensor] = []

    def look(visit: rollout.Visit) -> None:
        after = sampler.transition(visit.process, visit.index, visit.output, visit.sample)
        z.append((trajectory.samples[visit.index + 1] - after.mean) / after.std)

    rollout.visit(
        batch,
        inputs={step: trajectory.samples[step] for step in sampler.noisy_steps(trajectory.process)},
        on_output=look,
        method=MethodSettings(),
        gradient=False,
        conditional_only=False,
    )
    assert len(z) == 3
    # The noise comes video by video from each one's own generator.
    of_video = generators(2)
    rows = len(z[0]) // 2
    for drawn_R in z:
        expected = [torch.randn(drawn_R[:rows].shape, generator=one) for one in of_video]
        torch.testing.assert_close(drawn_R, torch.cat(expected), rtol=1e-3, atol=1e-3)
