"""The process of each kind of scheduler against what the scheduler itself computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    CogVideoXDDIMScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from vader_core.errors import SpecUnusable
from vader_core.pipelines.videocrafter.scheduler import ScaledDDIMScheduler
from vader_core.process import process_of

# diffusers 0.42 converts tensors to arrays in a way that numpy 2 announces to change.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
# A divisor of the 1000 training timesteps: with others, DDIM schedulers round where they step to.
STEPS = 5
FIRST_ORDER: dict[str, Any] = {
    "flow": FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow to data": FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    "epsilon": DDIMScheduler(timestep_spacing="trailing", clip_sample=False),
    "v": DDIMScheduler(prediction_type="v_prediction", clip_sample=False),
    "clean": DDIMScheduler(prediction_type="sample", clip_sample=False),
    "cogvideox": CogVideoXDDIMScheduler(prediction_type="v_prediction", clip_sample=False),
    "euler epsilon": EulerDiscreteScheduler(timestep_spacing="trailing"),
    "euler v": EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True),
    "videocrafter": ScaledDDIMScheduler(),
    "flow dpm": DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, solver_order=1
    ),
}


@pytest.fixture(params=FIRST_ORDER)
def scheduler(request: pytest.FixtureRequest) -> Any:
    found = FIRST_ORDER[request.param]
    found = type(found).from_config(found.config)
    found.set_timesteps(STEPS)
    return found


def normal(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_first_order_samplers_step_as_the_process_does(scheduler: Any) -> None:
    """All but the last step, after which some schedulers leave a trace of noise."""
    process = process_of(scheduler)
    assert process.steps == STEPS
    sample = process.noised(0, normal(0), normal(1))
    for index, timestep in enumerate(scheduler.timesteps[:-1]):
        output = normal(index + 2)
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(sample, timestep)
        expected = scheduler.step(output, timestep, sample, return_dict=False)[0]
        found = process.step(index, output, sample)
        assert torch.allclose(found, expected.double(), atol=2e-4 * float(expected.abs().max()))
        sample = found


def test_targets_are_what_would_be_predicted_of_the_clean_sample(scheduler: Any) -> None:
    process, clean, noise = process_of(scheduler), normal(0), normal(1)
    for index in range(STEPS):
        sample = process.noised(index, clean, noise)
        target = process.target(index, clean, noise)
        assert torch.allclose(process.clean(index, target, sample), clean, atol=1e-8)
        assert torch.allclose(process.noise(index, target, sample), noise, atol=1e-8)


def test_the_end_is_the_clean_sample(scheduler: Any) -> None:
    process = process_of(scheduler)
    output, sample = normal(2), process.noised(STEPS - 1, normal(0), normal(1))
    ended = process.step(STEPS - 1, output, sample)
    assert torch.allclose(ended, process.clean(STEPS - 1, output, sample))


def test_multistep_schedulers_have_the_process_of_their_kind() -> None:
    flow = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    variance_preserving = DPMSolverMultistepScheduler()
    for one in (flow, variance_preserving):
        one.set_timesteps(STEPS)
    assert torch.allclose(
        process_of(flow).alphas + process_of(flow).sigmas, torch.ones(STEPS + 1).double()
    )
    squares = (
        process_of(variance_preserving).alphas ** 2 + process_of(variance_preserving).sigmas ** 2
    )
    assert torch.allclose(squares, torch.ones(STEPS + 1).double())


def test_a_scheduler_of_no_known_kind_is_refused() -> None:
    consistency = CMStochasticIterativeScheduler()
    consistency.set_timesteps(STEPS)
    with pytest.raises(SpecUnusable, match="is not known well enough"):
        process_of(consistency)


def test_a_scheduler_with_more_steps_than_asked_for_is_taken_as_it_is() -> None:
    pndm = PNDMScheduler(skip_prk_steps=True)
    pndm.set_timesteps(STEPS)
    assert process_of(pndm).steps == len(pndm.timesteps)
