"""What DDPO and Flow-GRPO share. Letters: B videos, or samples of a toy process in one dimension."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Normal

from tests.vader_core.methods.benches import CONSTANT, gradient, learner, weights
from vader_core import rollout
from vader_core.errors import GradientNotFinite
from vader_core.methods import policy
from vader_core.methods.collecting import Collected, collect
from vader_core.methods.policy import PolicyLearner, clipped_loss_B
from vader_core.methods.stochastic_sampler import StochasticSampler
from vader_core.methods.updating import Update, update
from vader_core.process import Process

METHODS = ["ddpo", "grpo"]
STEPS = 4


def policy_learner(name: str = "tiny-wan", kind: str = "ddpo", **changes: Any) -> PolicyLearner:
    """Four videos a step in two groups; without limit on the gradient's norm."""
    method = {
        "type": kind,
        "batch_size": 2,
        "gradient_accumulation": 2,
        "group_size": 2,
        "max_grad_norm": 1e9,
        "learning_rate": 0.0,
        **({"kl_weight": 0.0} if kind == "grpo" else {}),
    }
    made = learner(
        base_model=name,
        method={**method, **changes.pop("method", {})},
        video={"inference_steps": STEPS, "guidance_scale": changes.pop("guidance_scale", 3.0)},
        **changes,
    )
    assert isinstance(made, PolicyLearner)
    return made


def log_probs(made: PolicyLearner, collected: Collected, *, graph: bool) -> torch.Tensor:
    """(S, B): the density of every noisy step of every video, by torch's own normal distribution."""
    rows: dict[int, list[torch.Tensor]] = {}

    for part in collected.parts:
        samples = part.trajectory.samples
        steps = made.sampler.noisy_steps(part.trajectory.process)

        def look(visit: rollout.Visit, samples: list[torch.Tensor] = samples) -> None:
            after = made.sampler.transition(visit.process, visit.index, visit.output, visit.sample)
            log_prob = Normal(after.mean, after.std).log_prob(samples[visit.index + 1])  # type: ignore[no-untyped-call]
            rows.setdefault(visit.index, []).append(log_prob.reshape(2, -1).mean(1))

        rollout.visit(
            part.batch,
            inputs={step: samples[step] for step in steps},
            on_output=look,
            method=made.spec.method,
            gradient=graph,
            conditional_only=False,
        )
    return torch.stack([torch.cat(rows[step]) for step in sorted(rows)])


def advantages_of(made: PolicyLearner) -> tuple[Collected, torch.Tensor]:
    collected = collect(made.bench, made.spec, step=0, sampler=made.sampler)
    return collected, made.advantages(collected)


def test_the_loss_is_the_clipped_ratio_times_the_advantage() -> None:
    log_ratio_B = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.05], dtype=torch.float64)
    log_prob_B = (torch.full((5,), -1.3).double() + log_ratio_B).requires_grad_()
    old_B = torch.full((5,), -1.3).double()
    advantage_B = torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0], dtype=torch.float64)
    loss_B = clipped_loss_B(log_prob_B, old_B, advantage_B, clip_range=0.1)
    ratio_B = log_ratio_B.exp()
    expected_B = torch.stack(
        [
            -2 * torch.tensor(1.1),
            2 * ratio_B[1],
            -2 * ratio_B[2],
            torch.tensor(1.8),
            -2 * ratio_B[4],
        ]
    )
    torch.testing.assert_close(loss_B, expected_B, check_dtype=False)
    loss_B.sum().backward()  # type: ignore[no-untyped-call]
    # Where the ratio has gone as far as it may in the advantage's direction, nothing pulls any more.
    pulled_B = torch.tensor([0, 1, 1, 0, 1])
    torch.testing.assert_close(log_prob_B.grad, -advantage_B * ratio_B * pulled_B)


def test_the_first_gradient_is_reinforce() -> None:
    log_prob_B = torch.randn(6, dtype=torch.float64).requires_grad_()
    advantage_B = torch.randn(6, dtype=torch.float64)
    clipped_loss_B(log_prob_B, log_prob_B.detach(), advantage_B, clip_range=1e-4).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(log_prob_B.grad, -advantage_B)


@pytest.mark.parametrize("flow", ["ddim", "sde"])
def test_the_gradient_is_that_of_the_expected_reward(flow: Any) -> None:
    """The denoiser predicts the velocity theta * x: samples stay normal, E[x^2] is known, and its slope."""
    sigmas = torch.tensor([1.0, 0.8, 0.55, 0.3, 0.1, 0.0], dtype=torch.float64)
    toy, sampler = Process("flow", 1 - sigmas, sigmas), StochasticSampler(0.6, flow=flow)
    steps = sampler.noisy_steps(toy)
    theta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    variance = one
    for step in steps:
        after = sampler.transition(toy, step, theta * one, one)
        variance = after.mean**2 * variance + after.std**2
    (expected,) = torch.autograd.grad(variance.sum(), theta)

    count, generator = 200_000, torch.Generator().manual_seed(11)
    samples = [torch.randn(count, generator=generator, dtype=torch.float64)]
    with torch.no_grad():
        for step in steps:
            after = sampler.transition(toy, step, theta * samples[-1], samples[-1])
            noise = torch.randn(count, generator=generator, dtype=torch.float64)
            samples.append(after.mean + after.std * noise)
    reward_B = samples[-1] ** 2
    advantage_B = reward_B - reward_B.mean()
    theta_B = theta.detach().expand(count).clone().requires_grad_()
    for step in steps:
        after = sampler.transition(toy, step, theta_B * samples[step], samples[step])
        log_prob_B = after.log_prob_B(samples[step + 1], videos=count)
        clipped_loss_B(  # type: ignore[no-untyped-call]
            log_prob_B, log_prob_B.detach(), advantage_B, clip_range=1e-4
        ).sum().backward()
    assert theta_B.grad is not None
    error = float(theta_B.grad.std()) / count**0.5
    assert error < 0.1 * abs(expected)
    assert float(-theta_B.grad.mean()) == pytest.approx(float(expected), abs=4 * error)


@pytest.mark.parametrize(
    ("name", "kind", "guidance_scale"),
    [
        ("tiny-unet", "ddpo", 3.0),
        ("tiny-unet", "grpo", 1.0),
        ("tiny-wan", "ddpo", 1.0),
        ("tiny-wan", "grpo", 3.0),
    ],
)
def test_a_step_s_gradient_is_reinforce_on_the_model(
    name: str, kind: str, guidance_scale: float
) -> None:
    made = policy_learner(name, kind, guidance_scale=guidance_scale)
    collected, advantage_B = advantages_of(made)
    loss = -(advantage_B * log_probs(made, collected, graph=True).mean(0)).mean()
    adapter = [parameter for _, parameter in made.bench.adapter.parameters()]
    expected = torch.cat([one.flatten() for one in torch.autograd.grad(loss, adapter)])
    before = weights(made)
    result = made.step(0)
    assert float(advantage_B.abs().min()) > 0
    torch.testing.assert_close(gradient(made), expected.float(), rtol=1e-3, atol=1e-6)
    assert result.loss == pytest.approx(-float(advantage_B.mean()), abs=1e-6)
    assert torch.equal(result.total_B, collected.total_B)
    assert result.reward_queries == 4
    assert result.figures["approx_kl"] == result.figures["clip_fraction"] == 0
    # The learning rate is 0.
    assert torch.equal(weights(made), before)


@pytest.mark.parametrize("kind", METHODS)
def test_a_small_update_makes_better_videos_likelier(kind: str) -> None:
    made = policy_learner(kind=kind, method={"learning_rate": 1e-4})
    collected, advantage_B = advantages_of(made)
    before_B = log_probs(made, collected, graph=False).mean(0)
    made.step(0)
    after_B = log_probs(made, collected, graph=False).mean(0)
    assert float((advantage_B * (after_B - before_B)).sum()) > 0


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("updates", [1, 2])
def test_of_a_constant_reward_nothing_is_learnt(kind: str, updates: int) -> None:
    method = {"learning_rate": 1e-2, "updates_per_step": updates}
    made = policy_learner(kind=kind, method=method, rewards=CONSTANT)
    before = weights(made)
    for number in range(2):
        result = made.step(number)
        assert result.total_B.tolist() == [-1.0] * 4
        assert result.grad_norm == 0
    assert torch.equal(weights(made), before)


@pytest.mark.parametrize("kind", METHODS)
def test_more_updates_are_more_passes_with_ratios_of_their_own(kind: str) -> None:
    still = policy_learner(kind=kind, method={"updates_per_step": 3}, adapter={"dropout": 0.3})
    figures = still.step(0).figures
    assert figures["approx_kl"] == figures["clip_fraction"] == 0
    moving = policy_learner(kind=kind, method={"updates_per_step": 3, "learning_rate": 1e-3})
    forwards = moving.bench.base.denoiser_forwards
    figures = moving.step(0).figures
    assert figures["approx_kl"] > 0
    assert 0 < figures["clip_fraction"] <= 2 / 3
    # Sampling takes 4 videos * 4 steps * 2 branches, a pass the noisy steps with backward and checkpoints.
    noisy = {"ddpo": 2, "grpo": 3}[kind]
    assert moving.bench.base.denoiser_forwards - forwards == 32 + 3 * 4 * noisy * 2 * 4


def test_what_one_video_at_a_time_teaches_is_what_all_together_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = policy_learner(kind="grpo", method={"kl_weight": 0.5, "prediction_penalty": 0.5})
    result = together.step(0)
    alone = policy_learner(kind="grpo", method={"kl_weight": 0.5, "prediction_penalty": 0.5})
    monkeypatch.setattr(alone.bench.base.family, "one_video_per_call", True)
    by_one = alone.step(0)
    torch.testing.assert_close(gradient(alone), gradient(together), rtol=1e-3, atol=1e-6)
    assert by_one.figures == pytest.approx(result.figures, rel=1e-4, abs=1e-9)
    assert by_one.penalty == pytest.approx(result.penalty, rel=1e-4)
    assert by_one.loss == pytest.approx(result.loss, rel=1e-4)


@pytest.mark.parametrize("kind", METHODS)
def test_micro_batches_add_up_to_the_step(kind: str) -> None:
    parts = policy_learner(kind=kind)
    whole = policy_learner(kind=kind, method={"batch_size": 4, "gradient_accumulation": 1})
    assert parts.step(0).loss == pytest.approx(whole.step(0).loss, abs=1e-5)
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-3, atol=1e-5)


def test_the_steps_learnt_from_are_drawn_anew_for_every_micro_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = policy_learner(kind="grpo", method={"train_steps": 2})
    seen: list[tuple[int, ...]] = []
    plain = rollout.visit

    def noting(batch: rollout.Batch, **kwargs: Any) -> None:
        seen.append(tuple(kwargs["inputs"]))
        plain(batch, **kwargs)

    monkeypatch.setattr(rollout, "visit", noting)
    for number in range(4):
        made.step(number)
    assert len(seen) == 8
    assert set(seen) == {(0, 1), (0, 2), (1, 2)}
    again, first = policy_learner(kind="grpo", method={"train_steps": 2}), seen[:2]
    again.step(0)
    assert seen[8:] == first


def test_the_prediction_penalty_counts_into_the_loss() -> None:
    plain = policy_learner().step(0)
    penalised = policy_learner(method={"prediction_penalty": 3.0}).step(0)
    assert plain.penalty == 0
    assert penalised.penalty > 0
    assert penalised.loss == pytest.approx(plain.loss + 3 * penalised.penalty, rel=1e-5)


def test_advantages_are_clipped() -> None:
    free, clipped = policy_learner(), policy_learner(method={"advantage_clip": 0.1})
    assert free.step(0).figures["advantage_std"] > 0.5
    assert clipped.step(0).figures["advantage_std"] <= 0.1 + 1e-9


def test_a_step_that_fails_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    made = policy_learner()
    made.step(0)
    known = {name: tensor.clone() for name, tensor in made.state_dict().items()}

    def fail(*args: Any, **kwargs: Any) -> None:
        raise GradientNotFinite("The gradient of step 2 is not finite.", hint="")

    monkeypatch.setattr(policy, "update", fail)
    with pytest.raises(GradientNotFinite):
        made.step(1)
    assert made.state_dict().keys() == known.keys()
    assert all(torch.equal(made.state_dict()[name], known[name]) for name in known)


@pytest.mark.parametrize("steps_before", [0, 1])
def test_a_later_update_that_fails_takes_the_earlier_ones_back(
    monkeypatch: pytest.MonkeyPatch, steps_before: int
) -> None:
    made = policy_learner(method={"updates_per_step": 2, "learning_rate": 1e-2})
    for number in range(steps_before):
        made.step(number)
    adapter, optimiser = weights(made), made.bench.optimiser.state_dict()
    moved: list[bool] = []

    def fail_in_the_second(*args: Any, **kwargs: Any) -> Update:
        if moved:
            raise GradientNotFinite("The gradient is not finite.", hint="")
        updated = update(*args, **kwargs)
        moved.append(not torch.equal(weights(made), adapter))
        return updated

    monkeypatch.setattr(policy, "update", fail_in_the_second)
    with pytest.raises(GradientNotFinite):
        made.step(steps_before)
    assert moved == [True]
    assert torch.equal(weights(made), adapter)
    left = made.bench.optimiser.state_dict()
    assert left.keys() == optimiser.keys()
    assert all(torch.equal(left[name], optimiser[name]) for name in optimiser)
