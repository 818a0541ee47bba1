from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.vader_core import plain_autograd
from tests.vader_core.tiny_models import (
    NAMES,
    PROMPTS,
    Scene,
    conditions_of,
    generators,
    gradients,
    scene,
    weighted_sum,
)
from vader_core import frames, rollout
from vader_core.catalogue import BUILT_IN, RewardRow
from vader_core.errors import RewardNotFinite
from vader_core.frames import Chosen
from vader_core.gradient import GradientResult, staged_gradient
from vader_core.method_spec import Frames, RelativePrompt, RewardGradient
from vader_core.rewards import Term, WeightedSum
from vader_core.spec import Prompt

STEPS = 3
TOLERANCE = 1e-6


@pytest.fixture(scope="module", params=NAMES)
def sampled_scene(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, inference_steps=STEPS)


@functools.cache
def all_rewards() -> WeightedSum:
    return weighted_sum(tiny_action=1.0, tiny_text_match=0.5, tiny_preference=0.1)


@functools.cache
def image_rewards() -> WeightedSum:
    return weighted_sum(tiny_text_match=1.0, tiny_preference=0.1)


class NotFinite:
    """A reward that overflows on the second video."""

    def __init__(self, row: RewardRow) -> None:
        self.row = row

    def score(self, frames: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        del prompts
        return frames.flatten(1).mean(1) * torch.tensor([1.0, float("inf")])


def staged(
    scene: Scene, reward: WeightedSum, chosen: Frames, **fields: Any
) -> tuple[torch.Tensor, GradientResult]:
    method = RewardGradient(**fields)
    indices = frames.choose(
        chosen, num_frames=scene.video.num_frames or 0, generators=generators(2, "frames")
    )
    sampled = rollout.sample(
        rollout.Batch(scene.base, scene.conditions, scene.noise, scene.video, generators(2)),
        method=method,
    )
    weights = frames.weights(chosen, indices, num_frames=scene.video.num_frames or 0)
    result = staged_gradient(
        sampled, reward, PROMPTS, chosen=Chosen(indices, weights), method=method
    )
    return gradients(scene.adapter), result


def plain_loss(
    scene: Scene, reward: WeightedSum, chosen: Frames, latents: torch.Tensor
) -> torch.Tensor:
    indices = frames.choose(
        chosen, num_frames=scene.video.num_frames or 0, generators=generators(2, "frames")
    )
    return plain_autograd.loss(scene, latents, reward, indices)


def part(scene: Scene, video: int) -> Scene:
    rows = slice(video, video + 1)
    return scene._replace(conditions=conditions_of(scene.conditions, rows), noise=scene.noise[rows])


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert expected.norm() > 1e-9
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("guidance_gradient", ["both", "conditional"])
@pytest.mark.parametrize("steps", [1, 2, STEPS])
def test_staged_gradient_equals_plain_autograd(
    sampled_scene: Scene, steps: int, guidance_gradient: str
) -> None:
    cut = {"differentiable_steps": steps, "guidance_gradient": guidance_gradient}
    every, one = (Frames(), all_rewards()), (Frames(mode="index", index=1), image_rewards())
    latents = plain_autograd.sampled(sampled_scene, **cut)
    for (chosen, reward), checkpointings in ((every, (True, False)), (one, (True,))):
        loss = plain_loss(sampled_scene, reward, chosen, latents)
        loss.backward(retain_graph=True)
        expected = gradients(sampled_scene.adapter)
        for checkpointing in checkpointings:
            found, result = staged(
                sampled_scene,
                reward,
                chosen,
                gradient_checkpointing=checkpointing,
                decode_chunk_frames=2,
                **cut,
            )
            assert relative_error(found, expected) < TOLERANCE
            assert result.loss == pytest.approx(float(loss.detach()), rel=1e-6)


VARIANTS = {
    "weighed frames": ({}, Frames(centre_decay=2.0)),
    "relative prompt": (
        {"relative_prompt": RelativePrompt(wanted="a red circle", unwanted="moving up")},
        Frames(),
    ),
    "worst case": ({"worst_case_radius": 0.02}, Frames()),
    "all together": (
        {
            "relative_prompt": RelativePrompt(wanted="a red circle", unwanted="moving up"),
            "worst_case_radius": 0.02,
        },
        Frames(mode="random", n=2, centre_decay=2.0),
    ),
}


@pytest.mark.parametrize("chunk_frames", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_what_is_climbed_equal_plain_autograd(
    sampled_scene: Scene, variant: str, chunk_frames: int
) -> None:
    fields, chosen = VARIANTS[variant]
    indices = frames.choose(chosen, num_frames=3, generators=generators(2, "frames"))
    loss = plain_autograd.variant_loss(
        sampled_scene,
        plain_autograd.sampled(sampled_scene, differentiable_steps=1),
        image_rewards(),
        indices,
        centre_decay=chosen.centre_decay,
        **fields,
    )
    loss.backward()
    expected = gradients(sampled_scene.adapter)
    found, result = staged(
        sampled_scene,
        image_rewards(),
        chosen,
        decode_chunk_frames=chunk_frames,
        guidance_gradient="both",
        **fields,
    )
    # A difference of two scores that are alike keeps fewer of their digits.
    assert relative_error(found, expected) < 10 * TOLERANCE
    assert result.loss == pytest.approx(float(loss.detach()), rel=1e-4)


def test_only_the_video_below_the_cap_is_climbed(sampled_scene: Scene) -> None:
    """Between the scores of the two videos, against plain autograd through the capped objective."""
    plain = image_rewards().terms[0]
    _, result = staged(sampled_scene, WeightedSum([plain]), Frames())
    middle = float(result.per_reward[plain.name].mean())
    capped = WeightedSum([dataclasses.replace(plain, cap=middle)])
    latents = plain_autograd.sampled(sampled_scene, differentiable_steps=1)
    loss = plain_loss(sampled_scene, capped, Frames(), latents)
    loss.backward()
    expected = gradients(sampled_scene.adapter)
    found, result = staged(sampled_scene, capped, Frames(), guidance_gradient="both")
    assert relative_error(found, expected) < TOLERANCE
    assert float(result.total_B.max()) == pytest.approx(middle)


def test_frames_per_chunk_change_nothing(sampled_scene: Scene) -> None:
    results = [
        staged(sampled_scene, all_rewards(), Frames(mode="random", n=2), decode_chunk_frames=chunk)
        for chunk in (1, 100)
    ]
    for found, result in results[1:]:
        assert relative_error(found, results[0][0]) < TOLERANCE
        assert torch.allclose(result.total_B, results[0][1].total_B)


def test_penalty_is_the_distance_to_the_base_prediction(sampled_scene: Scene) -> None:
    """Against a graph that runs the denoiser with and without adapter inside every kept step."""
    reward, weight = image_rewards(), 3.0
    calls = 2 * len(sampled_scene.base.family.guidance_calls)
    distances: list[torch.Tensor] = []
    denoiser, adapter = sampled_scene.base.denoiser, sampled_scene.adapter
    forward = denoiser.forward

    def measured(*args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
        prediction = forward(*args, **kwargs)
        with torch.no_grad(), adapter.disabled():
            reference = forward(*args, **kwargs)[0]
        distances.append((prediction[0] - reference).square().mean())
        return prediction

    denoiser.forward = measured
    try:
        latents = plain_autograd.sampled(sampled_scene, differentiable_steps=2)
    finally:
        denoiser.forward = forward
    penalty = torch.stack(distances[-calls:]).mean()
    (plain_loss(sampled_scene, reward, Frames(), latents) + weight * penalty).backward()
    expected = gradients(adapter)
    found, result = staged(
        sampled_scene,
        reward,
        Frames(),
        differentiable_steps=2,
        guidance_gradient="both",
        prediction_penalty=weight,
    )
    assert relative_error(found, expected) < TOLERANCE
    assert result.penalty == pytest.approx(float(penalty.detach()), rel=1e-6)
    assert result.penalty > 0


def test_gradients_of_micro_batches_add_up(sampled_scene: Scene) -> None:
    whole, _ = staged(sampled_scene, image_rewards(), Frames())
    for video in range(2):
        one = part(sampled_scene, video)
        method = RewardGradient()
        sampled = rollout.sample(
            rollout.Batch(one.base, one.conditions, one.noise, one.video, generators(1)),
            method=method,
        )
        staged_gradient(
            sampled,
            image_rewards(),
            PROMPTS[video : video + 1],
            chosen=Chosen(frames.every_frame(num_frames=3, batch=1)),
            method=method,
            loss_scale=0.5,
        )
    # The Wan modules round to float32 in places, and by another amount at another batch size.
    assert relative_error(gradients(sampled_scene.adapter), whole) < 1e-5


def test_reward_that_is_not_finite_is_named_and_adds_no_gradient(sampled_scene: Scene) -> None:
    broken = WeightedSum([Term(NotFinite(BUILT_IN.rewards["tiny-text-match"]))])
    with pytest.raises(RewardNotFinite, match=r"tiny-text-match.*blue square"):
        staged(sampled_scene, broken, Frames())
    assert all(parameter.grad is None for _, parameter in sampled_scene.adapter.parameters())
