from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from tests.vader_core import plain_autograd
from tests.vader_core.tiny_models import (
    NAMES,
    Scene,
    conditions_of,
    generators,
    gradients,
    scene,
)
from vader_core import rollout
from vader_core.method_spec import RewardGradient
from vader_core.rollout import Rollout

STEPS = 4


@pytest.fixture(scope="module", params=NAMES)
def sampled_scene(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, torch.float32, inference_steps=STEPS)


def sample(scene: Scene, **fields: Any) -> Rollout:
    return rollout.sample(
        rollout.Batch(scene.base, scene.conditions, scene.noise, scene.video, generators(2)),
        method=RewardGradient(**fields),
    )


def generate(scene: Scene) -> torch.Tensor:
    return rollout.generate(
        rollout.Batch(scene.base, scene.conditions, scene.noise, scene.video, generators(2))
    )


def grad_modes(scene: Scene, **fields: Any) -> list[tuple[int, bool]]:
    """Rows and grad mode of every call that reaches the denoiser's first layer."""
    seen: list[tuple[int, bool]] = []
    entry = getattr(scene.base.denoiser, "conv_in", None) or scene.base.denoiser.patch_embedding

    def note(module: Any, args: tuple[torch.Tensor, ...]) -> None:
        seen.append((len(args[0]), torch.is_grad_enabled()))

    handle = entry.register_forward_pre_hook(note)
    try:
        sample(scene, **fields)
    finally:
        handle.remove()
    return seen


def test_videos_are_those_of_the_pipelines_own_call(sampled_scene: Scene) -> None:
    pipeline, video = sampled_scene.base.pipeline, sampled_scene.video
    expected = pipeline(
        prompt_embeds=sampled_scene.conditions.cond["prompt_embeds"],
        negative_prompt_embeds=sampled_scene.conditions.uncond["prompt_embeds"],
        latents=sampled_scene.noise,
        width=video.width,
        height=video.height,
        num_frames=video.num_frames,
        num_inference_steps=video.inference_steps,
        guidance_scale=video.guidance_scale,
        output_type="latent",
    ).frames
    assert torch.equal(generate(sampled_scene), expected)
    for guidance in ("conditional", "both"):
        latents = sample(sampled_scene, differentiable_steps=2, guidance_gradient=guidance)
        assert torch.allclose(latents.latents_BCfHW, expected, atol=1e-5)


def test_only_the_last_steps_and_chosen_branches_carry_gradient() -> None:
    unet, wan = (scene(name, torch.float32, inference_steps=STEPS) for name in NAMES)
    prefix = [(12, False)] * 2
    assert grad_modes(unet, differentiable_steps=2, guidance_gradient="both") == [
        *prefix,
        (12, True),
        (12, True),
    ]
    assert grad_modes(unet, differentiable_steps=2) == [*prefix, *[(6, False), (6, True)] * 2]
    prefix = [(2, False)] * 6
    assert grad_modes(wan, guidance_gradient="both") == [*prefix, (2, True), (2, True)]
    assert grad_modes(wan) == [*prefix, (2, True), (2, False)]


def test_generating_leaves_no_graph_and_no_trace(sampled_scene: Scene) -> None:
    latents = generate(sampled_scene)
    assert not latents.requires_grad
    assert "forward" not in vars(sampled_scene.base.denoiser)
    assert "step" not in vars(sampled_scene.base.pipeline.scheduler)


def test_prefix_keeps_no_graph(sampled_scene: Scene) -> None:
    """The graph of K = 1 is as large whether 1 or 4 steps are taken."""

    def saved(steps: int) -> int:
        numbers = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal numbers
            numbers += 1
            return tensor

        video = sampled_scene.video.model_copy(update={"inference_steps": steps})
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            sample(sampled_scene._replace(video=video))
        return numbers

    assert saved(1) == saved(STEPS)


def test_without_guidance_there_is_one_branch(sampled_scene: Scene) -> None:
    unguided = sampled_scene.video.model_copy(update={"guidance_scale": 1.0})
    case = sampled_scene._replace(video=unguided)
    latents = sample(case, differentiable_steps=STEPS).latents_BCfHW
    assert torch.allclose(latents, generate(case), atol=1e-5)
    latents.square().mean().backward()
    assert gradients(case.adapter).norm() > 0


def test_seconds_are_split_at_the_first_differentiable_step(sampled_scene: Scene) -> None:
    whole = sample(sampled_scene, differentiable_steps=STEPS)
    late = sample(sampled_scene, differentiable_steps=1)
    assert whole.prefix_seconds < whole.last_k_seconds
    assert late.prefix_seconds > late.last_k_seconds / 2


def test_noise_of_another_shape_is_refused(sampled_scene: Scene) -> None:
    with pytest.raises(ValueError, match=r"shape .* not \("):
        sample(sampled_scene._replace(noise=sampled_scene.noise[:, :, :1]))


# diffusers 0.42 converts tensors to arrays in a way that numpy 2 announces to change.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "scheduler", "settings"),
    [
        ("tiny-unet", DPMSolverMultistepScheduler, {}),
        ("tiny-wan", UniPCMultistepScheduler, {"flow_shift": 3.0, "use_flow_sigmas": True}),
    ],
)
def test_gradient_runs_through_multistep_schedulers(
    name: str, scheduler: Any, settings: dict[str, Any]
) -> None:
    case = scene(name, inference_steps=STEPS)
    pipeline = case.base.pipeline
    pipeline.scheduler = scheduler.from_config(
        pipeline.scheduler.config,
        prediction_type="flow_prediction" if settings else "epsilon",
        **settings,
    )
    plain_autograd.sampled(case, differentiable_steps=2).square().mean().backward()
    expected = gradients(case.adapter)
    latents = sample(case, differentiable_steps=2, guidance_gradient="both").latents_BCfHW
    latents.square().mean().backward()
    found = gradients(case.adapter)
    assert (found - expected).norm() < 1e-6 * expected.norm()


def test_step_noise_of_a_video_does_not_depend_on_its_batch() -> None:
    case = scene("tiny-unet", torch.float32, inference_steps=STEPS)
    pipeline = case.base.pipeline
    pipeline.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    both = generate(case)
    again = generate(case)
    second = rollout.generate(
        rollout.Batch(
            case.base,
            conditions_of(case.conditions, slice(1, None)),
            case.noise[1:],
            case.video,
            generators(2)[1:],
        )
    )
    assert torch.equal(both, again)
    assert torch.allclose(both[1:], second, atol=1e-4)
    assert not torch.allclose(both[:1], both[1:], atol=1e-1)


def test_adapters_dropout_is_repeatable_and_only_in_differentiable_steps() -> None:
    case = scene("tiny-unet", dropout=0.5)
    assert torch.equal(generate(case), generate(case))
    dropped = sample(case, differentiable_steps=1)
    assert not torch.allclose(dropped.latents_BCfHW, generate(case))
    dropped.latents_BCfHW.square().mean().backward()
    expected = gradients(case.adapter)
    again = sample(case, differentiable_steps=1, gradient_checkpointing=False)
    again.latents_BCfHW.square().mean().backward()
    assert torch.equal(again.latents_BCfHW, dropped.latents_BCfHW)
    found = gradients(case.adapter)
    assert (found - expected).norm() < 1e-9 * expected.norm()
