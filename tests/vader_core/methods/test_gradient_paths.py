"""Each path's gradient on the tiny models, against the plain loop of tests/vader_core/plain_autograd.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from tests.vader_core.plain_autograd import PlainSampler
from tests.vader_core.tiny_models import NAMES, Scene, generators, gradients, scene
from vader_core import rollout
from vader_core.errors import SpecUnusable
from vader_core.gate import Gate
from vader_core.method_spec import RewardGradient
from vader_core.methods import gradient_paths
from vader_core.methods.gradient_paths import srpo_discount
from vader_core.rollout import Batch, Rollout

STEPS = 3
LAST = STEPS - 1
# Wan's scheduler computes in float32 whatever the denoiser computes in.
TOLERANCE = 1e-5
ONE_STEP = ["clean_prediction", "leap", "direct_align"]
# A gradient at the adapter, the latents it was taken at, and the sample that the chosen step saw.
Plain = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module", params=NAMES)
def tiny(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, inference_steps=STEPS)


@pytest.fixture(scope="module")
def unet() -> Scene:
    """Its scheduler is handed a row for every frame, and its denoiser both branches in one call."""
    return scene("tiny-unet", inference_steps=STEPS)


def batch_of(tiny: Scene) -> Batch:
    return Batch(tiny.base, tiny.conditions, tiny.noise, tiny.video, generators(2))


def settings(path: str, step: int, **fields: Any) -> RewardGradient:
    where = {} if path == "last_step_redraws" else {"step_choice": "given", "given_steps": [step]}
    return RewardGradient(path=path, **{"guidance_gradient": "both", **where, **fields})


def score(latents: torch.Tensor) -> torch.Tensor:
    """Something that is not linear, so that it matters where the gradient is taken."""
    weights = torch.linspace(-1, 1, latents.numel(), dtype=latents.dtype).view_as(latents)
    return (weights * latents + latents**2).mean()


def found(
    tiny: Scene, path: str, step: int, **fields: Any
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The gradient summed over all rollouts, and their latents."""
    method = settings(path, step, **fields)
    latents = []
    for made in gradient_paths.rollouts(batch_of(tiny), method=method, steps=frozenset({step})):
        score(made.latents_BCfHW).backward()
        latents.append(made.latents_BCfHW.detach())
    return gradients(tiny.adapter), latents


def only(tiny: Scene, path: str, step: int, **fields: Any) -> Rollout:
    method = settings(path, step, **fields)
    (made,) = gradient_paths.rollouts(batch_of(tiny), method=method, steps=frozenset({step}))
    return made


def relative_error(one: torch.Tensor, other: torch.Tensor) -> float:
    assert other.norm() > 1e-9
    return float((one - other).norm() / other.norm())


def plain_clean_prediction(tiny: Scene, step: int) -> Plain:
    plain = PlainSampler(tiny)
    seen = plain.trajectory()[step]
    clean = plain.clean(step, seen)
    score(clean).backward()
    return gradients(tiny.adapter), clean.detach(), seen


def plain_leap(tiny: Scene, step: int) -> Plain:
    """The score's gradient at the video, put where the clean prediction is made."""
    plain = PlainSampler(tiny)
    samples = plain.trajectory()
    video = samples[-1].requires_grad_()
    (direction,) = torch.autograd.grad(score(video), video)
    plain.clean(step, samples[step]).backward(direction)
    return gradients(tiny.adapter), video.detach(), samples[step]


def plain_direct_align(tiny: Scene, step: int) -> Plain:
    plain = PlainSampler(tiny)
    samples = plain.trajectory()
    (first_alpha, first_sigma), (alpha, sigma) = plain.levels[0], plain.levels[step]
    next_alpha, next_sigma = plain.levels[step + 1]
    noise = (samples[0] - first_alpha * samples[-1]) / first_sigma
    seen = alpha * samples[-1] + sigma * noise
    output = plain.predicted(step, seen)
    if plain.flows:
        following = seen + (next_sigma - sigma) * output
    else:
        following = next_alpha * (seen - sigma * output) / alpha + next_sigma * output
    recovered = (following - next_sigma * noise) / next_alpha
    (srpo_discount(step, STEPS) * score(recovered)).backward()
    return gradients(tiny.adapter), recovered.detach(), seen


PLAIN: dict[str, Callable[[Scene, int], Plain]] = {
    "clean_prediction": plain_clean_prediction,
    "leap": plain_leap,
    "direct_align": plain_direct_align,
}


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("path", ONE_STEP)
def test_gradient_of_one_step_equals_plain_autograd(tiny: Scene, path: str, step: int) -> None:
    expected, video, _ = PLAIN[path](tiny, step)
    gradient, latents = found(tiny, path, step)
    assert relative_error(gradient, expected) < TOLERANCE
    assert torch.allclose(latents[0], video, atol=1e-5)


def redrawn(tiny: Scene, drawn: list[torch.Generator]) -> torch.Tensor:
    """Noise (B, C, f, H, W) in the order in which the scheduler's own layout draws it."""
    _, channels, frames, height, width = tiny.noise.shape
    if tiny.base.row.family == "wan":
        shape = (channels, frames, height, width)
        return torch.stack([torch.randn(shape, generator=one) for one in drawn])
    shape = (frames, channels, height, width)
    return torch.stack([torch.randn(shape, generator=one).transpose(0, 1) for one in drawn])


@pytest.mark.parametrize("draws", [1, 3])
def test_redraws_of_the_last_step_equal_plain_autograd(tiny: Scene, draws: int) -> None:
    plain, drawn = PlainSampler(tiny), generators(2)
    video = plain.trajectory()[-1]
    alpha, sigma = plain.levels[LAST]
    expected = []
    for _ in range(draws):
        clean = plain.clean(LAST, alpha * video + sigma * redrawn(tiny, drawn).to(video))
        score(clean).backward()
        expected.append(clean.detach())
    total = gradients(tiny.adapter)
    gradient, latents = found(tiny, "last_step_redraws", LAST, noise_draws=draws)
    assert relative_error(gradient, total) < TOLERANCE
    assert torch.allclose(torch.stack(latents), torch.stack(expected), atol=1e-5)
    assert not torch.allclose(latents[0], latents[-1]) or draws == 1


def test_redraws_of_a_sampler_of_one_step_are_fresh_videos(tiny: Scene) -> None:
    short = tiny._replace(video=tiny.video.model_copy(update={"inference_steps": 1}))
    _, latents = found(short, "last_step_redraws", 0, noise_draws=2)
    drawn = generators(2)
    for made in latents:
        noise = [torch.randn(tiny.noise.shape[1:], generator=one) for one in drawn]
        other = short._replace(noise=torch.stack(noise))
        plain = PlainSampler(other)
        expected = plain.clean(0, other.noise.to(made)).detach()
        assert torch.allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("step", range(STEPS))
def test_what_a_leap_scores_is_the_samplers_video_bit_for_bit(tiny: Scene, step: int) -> None:
    unbroken = rollout.sample(
        batch_of(tiny), method=settings("sampler", step), gradient_steps=frozenset({step})
    )
    assert torch.equal(only(tiny, "leap", step).latents_BCfHW, unbroken.latents_BCfHW)


# diffusers 0.42 converts tensors to arrays in a way that numpy 2 announces to change.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_leap_keeps_the_memory_of_a_multistep_scheduler() -> None:
    case = scene("tiny-unet", inference_steps=4)
    pipeline = case.base.pipeline
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    made = only(case, "leap", 1).latents_BCfHW
    assert torch.allclose(made, rollout.generate(batch_of(case)), atol=1e-5)
    score(made).backward()
    gradient = gradients(case.adapter)
    assert gradient.isfinite().all()
    assert gradient.norm() > 0


@pytest.mark.parametrize("path", [*ONE_STEP, "last_step_redraws"])
def test_penalty_is_that_of_the_step_with_gradient(tiny: Scene, path: str) -> None:
    """Scored by the penalty alone, every path's gradient is that of the distance at what its step saw."""
    step = LAST if path == "last_step_redraws" else 1
    fields = {"noise_draws": 1} if path == "last_step_redraws" else {}
    plain = PlainSampler(tiny)
    if path == "last_step_redraws":
        alpha, sigma = plain.levels[step]
        video = plain.trajectory()[-1]
        seen = alpha * video + sigma * redrawn(tiny, generators(2)).to(video)
    else:
        _, _, seen = PLAIN[path](tiny, step)
    with torch.no_grad(), tiny.adapter.disabled():
        references = plain.branches(step, seen)
    distances = [
        (one - other).square().mean()
        for one, other in zip(plain.branches(step, seen), references, strict=True)
    ]
    distance = torch.stack(distances).mean()
    distance.backward()
    expected = gradients(tiny.adapter)
    made = only(tiny, path, step, prediction_penalty=0.5, **fields)
    assert made.penalty is not None
    assert made.penalty.item() == pytest.approx(distance.item(), rel=TOLERANCE)
    made.penalty.backward()
    assert relative_error(gradients(tiny.adapter), expected) < TOLERANCE


@pytest.mark.parametrize("path", [*ONE_STEP, "last_step_redraws"])
def test_what_stands_for_skipped_predictions_is_looked_at_nowhere(
    unet: Scene, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LAST if path == "last_step_redraws" else 1
    expected, videos = found(unet, path, step)
    zeros = Gate._nothing
    monkeypatch.setattr(
        Gate, "_nothing", lambda *args: tuple(one + torch.nan for one in zeros(*args))
    )
    gradient, latents = found(unet, path, step)
    assert torch.equal(gradient, expected)
    assert torch.equal(torch.stack(latents), torch.stack(videos))


@pytest.mark.parametrize("path", [*ONE_STEP, "last_step_redraws"])
def test_pipelines_that_take_one_video_at_a_time(
    unet: Scene, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LAST if path == "last_step_redraws" else 1
    expected, videos = found(unet, path, step)
    monkeypatch.setattr(unet.base.family, "one_video_per_call", True)
    gradient, latents = found(unet, path, step)
    assert relative_error(gradient, expected) < TOLERANCE
    assert torch.allclose(torch.stack(latents), torch.stack(videos), atol=1e-5)


@pytest.mark.parametrize(
    ("path", "step", "forwards"),
    [
        # Per video and branch: 1 a forward pass, 3 with a backward pass.
        ("sampler", 1, 1 + 3 + 1),
        ("leap", 1, 1 + 3 + 1),
        ("clean_prediction", 1, 1 + 3),
        ("clean_prediction", 0, 3),
        ("direct_align", 1, 3 + 3),
        ("last_step_redraws", LAST, 3 + 2 * 3),
    ],
)
def test_only_the_steps_that_count_call_the_denoiser(
    unet: Scene, path: str, step: int, forwards: int
) -> None:
    before = unet.base.denoiser_forwards
    found(unet, path, step, gradient_checkpointing=False)
    assert unet.base.denoiser_forwards - before == 2 * 2 * forwards


def test_detached_inputs_leave_the_sum_of_single_steps(unet: Scene) -> None:
    """A step that carries gradient alone passes on what comes later through the sampler's arithmetic."""
    method = RewardGradient(guidance_gradient="both", differentiable_steps=STEPS)
    single = [found(unet, "sampler", step)[0] for step in range(STEPS)]
    every = frozenset(range(STEPS))
    nested = {}
    for detached in (True, False):
        chained = method.model_copy(update={"detach_input": detached})
        (made,) = gradient_paths.rollouts(batch_of(unet), method=chained, steps=every)
        score(made.latents_BCfHW).backward()
        nested[detached] = gradients(unet.adapter)
    assert relative_error(nested[True], sum(single, torch.zeros_like(single[0]))) < TOLERANCE
    assert relative_error(nested[False], nested[True]) > 1e-3


@pytest.mark.parametrize("path", [*ONE_STEP, "last_step_redraws"])
def test_shortcuts_have_to_know_what_a_sample_is_made_of(path: str) -> None:
    case = scene("tiny-unet", inference_steps=STEPS)
    case.base.pipeline.scheduler.register_to_config(prediction_type="something else")
    method = settings(path, 0)
    with pytest.raises(SpecUnusable, match="not known well enough"):
        list(gradient_paths.rollouts(batch_of(case), method=method, steps=frozenset({0})))


def test_late_steps_count_for_less_in_direct_align() -> None:
    weights = [srpo_discount(step, 4) for step in range(4)]
    assert weights == pytest.approx([1.0, 0.9, 0.75, 0.5])
