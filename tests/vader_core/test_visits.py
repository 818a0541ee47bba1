"""Recording a rollout and visiting its steps again."""

from __future__ import annotations

import pytest
import torch

from tests.vader_core.tiny_models import NAMES, Scene, generators, gradients, scene
from vader_core import rollout
from vader_core.method_spec import RewardGradient
from vader_core.rollout import Batch, Visit

STEPS = 4
METHOD = RewardGradient(prediction_penalty=1.0)


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, inference_steps=STEPS)


def batch_of(case: Scene) -> Batch:
    return Batch(case.base, case.conditions, case.noise, case.video, generators(2))


def test_a_recorded_rollout_is_the_generated_one(case: Scene) -> None:
    recorded = rollout.record(batch_of(case))
    assert torch.equal(recorded.latents_BCfHW, rollout.generate(batch_of(case)))
    assert len(recorded.samples) == STEPS + 1


def test_visits_see_again_what_the_sampler_saw(case: Scene) -> None:
    """Both samplers are of first order: the recorded samples follow from the visited outputs."""
    recorded = rollout.record(batch_of(case))
    seen: list[int] = []

    def check(visit: Visit) -> None:
        seen.append(visit.index)
        assert torch.equal(visit.sample, recorded.samples[visit.index])
        assert not visit.output.requires_grad
        if visit.index < STEPS - 1:
            followed = visit.process.step(visit.index, visit.output, visit.sample)
            assert torch.allclose(followed, recorded.samples[visit.index + 1], atol=1e-5)

    inputs = {index: recorded.samples[index] for index in (0, 1, 3)}
    rollout.visit(
        batch_of(case),
        inputs=inputs,
        on_output=check,
        method=METHOD,
        gradient=False,
        conditional_only=False,
    )
    assert seen == [0, 1, 3]


def test_visits_cost_only_the_steps_that_are_looked_at(case: Scene) -> None:
    recorded = rollout.record(batch_of(case))

    def visit(indices: list[int]) -> int:
        before = case.base.denoiser_forwards
        rollout.visit(
            batch_of(case),
            inputs={index: recorded.samples[index] for index in indices},
            on_output=lambda _visit: None,
            method=METHOD,
            gradient=False,
            conditional_only=False,
        )
        return case.base.denoiser_forwards - before

    assert visit([1]) == 2 * 2
    assert visit([1, 2]) == 2 * visit([1])


def test_the_gradient_of_a_visit_is_of_its_own_step(case: Scene) -> None:
    """Against the last step of a rollout, which has the same input."""
    recorded = rollout.record(batch_of(case))
    noise = torch.randn_like(recorded.samples[-1])

    def climb(visit: Visit) -> None:
        assert visit.distance is not None
        assert float(visit.distance.detach()) > 0
        ended = visit.process.step(visit.index, visit.output, visit.sample)
        (ended * noise).sum().backward()

    rollout.visit(
        batch_of(case),
        inputs={STEPS - 1: recorded.samples[STEPS - 1]},
        on_output=climb,
        method=METHOD,
        gradient=True,
        conditional_only=False,
    )
    found = gradients(case.adapter)

    def last(call: rollout.StepCall) -> torch.Tensor:
        if not call.is_last:
            return call.own()
        ended = call.process.step(call.index, call.output, call.sample)
        (ended * noise).sum().backward()
        return ended.detach()

    rollout.sample(batch_of(case), method=METHOD, stepper=lambda _videos: last)
    expected = gradients(case.adapter)
    assert expected.norm() > 0
    assert (found - expected).norm() < 1e-9 * expected.norm()


def test_the_conditional_prediction_is_that_without_guidance(case: Scene) -> None:
    recorded = rollout.record(batch_of(case))
    unguided = case._replace(video=case.video.model_copy(update={"guidance_scale": 1.0}))
    outputs: list[torch.Tensor] = []
    for which, only in ((case, True), (unguided, False), (case, False)):
        rollout.visit(
            batch_of(which),
            inputs={2: recorded.samples[2]},
            on_output=lambda visit: outputs.append(visit.output),
            method=METHOD,
            gradient=False,
            conditional_only=only,
        )
    conditional, without_guidance, guided = outputs
    assert torch.allclose(conditional, without_guidance, atol=1e-9)
    assert not torch.allclose(conditional, guided, atol=1e-3)


def test_a_stepper_may_add_noise_of_every_videos_own(case: Scene) -> None:
    def noisy(call: rollout.StepCall) -> torch.Tensor:
        return call.own() + 0.01 * call.normal()

    one = rollout.record(batch_of(case), sampler=noisy)
    again = rollout.record(batch_of(case), sampler=noisy)
    plain = rollout.record(batch_of(case))
    assert torch.equal(one.latents_BCfHW, again.latents_BCfHW)
    assert not torch.allclose(one.latents_BCfHW, plain.latents_BCfHW, atol=1e-4)
