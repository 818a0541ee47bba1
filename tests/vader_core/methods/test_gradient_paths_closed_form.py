"""Every path and choice of steps on a toy diffusion with a known answer, through the real pipelines.

The denoiser of a tiny model is replaced by one that multiplies its input by a single weight w: the best
there is for Gaussian data. Every step is then a multiplication by a number, and the derivative of the
video after w is known for whatever part of the chain is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.vader_core.plain_autograd import PlainSampler
from tests.vader_core.tiny_models import NAMES, Scene, generators, scene
from vader_core import rollout
from vader_core.method_spec import RewardGradient
from vader_core.methods import gradient_paths, step_choice
from vader_core.patching import replaced
from vader_core.rollout import Batch

# Four steps of 250 of the 1000: DDIM then steps exactly from one level to the next.
STEPS = 4
WEIGHT = 0.3
TOLERANCE = 1e-6


class Toy:
    """A scene whose denoiser predicts w * x.

    One step multiplies by `carried[i] + w * made[i]`: what the sampler carries over, and what it makes of
    the prediction. `levels` are (alpha_i, sigma_i), the end's as the scheduler itself has it.
    """

    def __init__(self, case: Scene) -> None:
        plain = PlainSampler(case)
        self.case, self.levels = case, plain.levels[:-1]
        self.weight = torch.tensor(WEIGHT, dtype=torch.float64, requires_grad=True)
        self.flows = plain.flows
        end = 1.0 if plain.flows else float(case.base.pipeline.scheduler.final_alpha_cumprod) ** 0.5
        self.levels.append((end, 0.0 if plain.flows else (1 - end**2) ** 0.5))
        self.carried = [self._carried(i, self.levels[i + 1]) for i in range(STEPS)]
        self.made = [self._made(i, self.levels[i + 1]) for i in range(STEPS)]

    def _carried(self, step: int, towards: tuple[float, float]) -> float:
        return 1.0 if self.flows else towards[0] / self.levels[step][0]

    def _made(self, step: int, towards: tuple[float, float]) -> float:
        alpha, sigma = self.levels[step]
        if self.flows:
            return towards[1] - sigma
        return towards[1] - towards[0] * sigma / alpha

    def forward(self, *args: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor]:
        seen = args[0] if args else kwargs["hidden_states"]
        return (self.weight * seen,)

    def factors(self) -> list[float]:
        """What the noise has been multiplied by before every step, and at the end."""
        factors = [1.0]
        for carried, made in zip(self.carried, self.made, strict=True):
            factors.append(factors[-1] * (carried + WEIGHT * made))
        return factors

    def clean(self, step: int) -> tuple[float, float]:
        """The clean prediction of x_i as a multiple of x_i, and the derivative of that number."""
        made = self._made(step, (1.0, 0.0))
        return self._carried(step, (1.0, 0.0)) + WEIGHT * made, made

    def chained(self, steps: frozenset[int], *, detached: bool) -> float:
        """The derivative of the video by forward differentiation along the sampler's chain."""
        derivative = 0.0
        for step, factor in enumerate(self.factors()[:-1]):
            through = 0.0 if detached or step not in steps else WEIGHT * self.made[step]
            own = self.made[step] * factor if step in steps else 0.0
            derivative = (self.carried[step] + through) * derivative + own
        return derivative

    def found(self, steps: frozenset[int], **fields: Any) -> tuple[float, float]:
        """Video and derivative as multiples of the noise; of all rollouts the sum."""
        method = RewardGradient(guidance_gradient="both", gradient_checkpointing=False, **fields)
        case = self.case
        batch = Batch(case.base, case.conditions, case.noise, case.video, generators(2))
        scale = float(case.noise.double().square().sum())
        video = 0.0
        for made in gradient_paths.rollouts(batch, method=method, steps=steps):
            along_noise = (made.latents_BCfHW * case.noise.double()).sum() / scale
            along_noise.backward()
            video += along_noise.item()
        assert self.weight.grad is not None
        derivative, self.weight.grad = float(self.weight.grad), None
        return video, derivative


@pytest.fixture(scope="module", params=NAMES)
def toy(request: pytest.FixtureRequest) -> Iterator[Toy]:
    made = Toy(scene(request.param, inference_steps=STEPS))
    with replaced(made.case.base.denoiser, "forward", made.forward):
        yield made


def one(step: int) -> dict[str, Any]:
    return {"step_choice": "given", "given_steps": [step]}


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("steps", [{3}, {2, 3}, {0, 1, 2, 3}, {0}, {1, 3}, {0, 2}])
def test_chain_through_any_steps(toy: Toy, steps: set[int], detached: bool) -> None:
    video, derivative = toy.found(frozenset(steps), detach_input=detached)
    assert video == pytest.approx(toy.factors()[-1], rel=TOLERANCE)
    expected = toy.chained(frozenset(steps), detached=detached)
    assert derivative == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("step", range(STEPS))
def test_clean_prediction(toy: Toy, step: int) -> None:
    seen, (clean, derived) = toy.factors()[step], toy.clean(step)
    assert toy.found(frozenset({step}), path="clean_prediction", **one(step)) == pytest.approx(
        (clean * seen, derived * seen), rel=TOLERANCE
    )


@pytest.mark.parametrize("step", range(STEPS))
def test_leap(toy: Toy, step: int) -> None:
    seen, (_, derived) = toy.factors()[step], toy.clean(step)
    assert toy.found(frozenset({step}), path="leap", **one(step)) == pytest.approx(
        (toy.factors()[-1], derived * seen), rel=TOLERANCE
    )


@pytest.mark.parametrize("step", range(STEPS))
def test_direct_align(toy: Toy, step: int) -> None:
    """Noise and finished video are both multiples of the rollout's noise, and so is all that follows."""
    video, (first_alpha, first_sigma) = toy.factors()[-1], toy.levels[0]
    noise = (1 - first_alpha * video) / first_sigma
    alpha, sigma = toy.levels[step]
    towards = (1.0, 0.0) if step == STEPS - 1 else toy.levels[step + 1]
    seen = alpha * video + sigma * noise
    factor = toy._carried(step, towards) + WEIGHT * toy._made(step, towards)
    recovered = (factor * seen - towards[1] * noise) / towards[0]
    left = (STEPS - step) / STEPS
    derived = 3 * left / (1 + 2 * left) * toy._made(step, towards) * seen / towards[0]
    assert toy.found(frozenset({step}), path="direct_align", **one(step)) == pytest.approx(
        (recovered, derived), rel=TOLERANCE
    )


def test_redraws_average_out_to_the_video_alone(toy: Toy) -> None:
    """Fresh noise has, on average, nothing of the rollout's own: the signal's part is what is left."""
    last, draws = STEPS - 1, 64
    clean, derived = toy.clean(last)
    kept = toy.levels[last][0] * toy.factors()[-1]
    video, derivative = toy.found(frozenset({last}), path="last_step_redraws", noise_draws=draws)
    # A draw's part along the noise has the deviation sigma * clean / sqrt(numbers); five of them.
    spread = 5 * toy.levels[last][1] / (draws * toy.case.noise.numel()) ** 0.5
    assert video / draws == pytest.approx(clean * kept, abs=spread * abs(clean))
    assert derivative / draws == pytest.approx(derived * kept, abs=spread * abs(derived))


@pytest.mark.parametrize("count", [1, 3])
def test_even_steps_give_the_mean_over_all_steps(
    toy: Toy, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With inputs detached every step's share stands alone: K of N steps make, on average, K / N of all."""
    fields = {"step_choice": "even", "differentiable_steps": count, "detach_input": True}
    found = []
    for offset in range(STEPS):
        monkeypatch.setattr(step_choice, "_below", lambda *_args, _of=offset: _of)
        steps = step_choice.choose(
            RewardGradient(**fields), inference_steps=STEPS, generator=torch.Generator()
        )
        found.append(toy.found(steps, **fields)[1])
    every = toy.chained(frozenset(range(STEPS)), detached=True)
    assert sum(found) / STEPS == pytest.approx(count / STEPS * every, rel=TOLERANCE)


def test_the_pipelines_samples_are_those_of_the_toy(toy: Toy) -> None:
    case = toy.case
    batch = Batch(case.base, case.conditions, case.noise, case.video, generators(2))
    latents = rollout.generate(batch)
    assert torch.allclose(latents, toy.factors()[-1] * case.noise.double(), rtol=1e-5, atol=1e-6)
