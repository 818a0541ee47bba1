from __future__ import annotations

import math

import pytest
import torch

from tests.vader_core.methods.benches import gradient, learner
from tests.vader_core.methods.points import normal, point, process_of
from tests.vader_core.tiny_models import NAMES
from vader_core.methods.collecting import collect
from vader_core.methods.learner import Learner
from vader_core.methods.noising import Finished, Learnt, Noised, Point, all_finished
from vader_core.methods.step_choice import drawn_steps
from vader_core.process import Prediction

STEPS = 4


def sft_learner(name: str, **method: object) -> Learner:
    """Four videos a step, all of one prompt."""
    return learner(
        base_model=name,
        method={"type": "sft_best", "batch_size": 4, "gradient_accumulation": 1, **method},
        video={"inference_steps": STEPS, "guidance_scale": 3.0},
    )


def noised(made: Learner, videos: list[Finished], steps: range = range(STEPS)) -> Noised:
    return Noised(made.bench, made.spec, videos, step=0, steps=steps)


def points_of(made: Noised) -> list[Point]:
    seen: list[Point] = []

    def keep(point: Point) -> torch.Tensor:
        seen.append(point)
        return point.errors_B()

    made.learn(keep, of=1)
    return seen


@pytest.fixture(scope="module", params=NAMES)
def made(request: pytest.FixtureRequest) -> Learner:
    return sft_learner(request.param)


@pytest.fixture(scope="module")
def videos(made: Learner) -> list[Finished]:
    return all_finished(collect(made.bench, made.spec, step=0, end_only=True))


@pytest.mark.parametrize("prediction", ["epsilon", "clean", "v", "flow", "flow_to_data"])
def test_the_error_is_least_for_the_best_linear_denoiser(prediction: Prediction) -> None:
    """Of clean samples from N(0, s^2) it is known: E[target * sample] / E[sample^2]."""
    deviation, process = 1.5, process_of(prediction)
    alpha, sigma = float(process.alphas[0]), float(process.sigmas[0])
    norm, variance = math.hypot(alpha, sigma), deviation**2
    best = {
        "epsilon": sigma,
        "clean": alpha * variance,
        "v": alpha * sigma * (1 - variance) / norm,
        "flow": sigma - alpha * variance,
        "flow_to_data": alpha * variance - sigma,
    }[prediction] / (alpha**2 * variance + sigma**2)
    factor = torch.tensor(best, dtype=torch.float64, requires_grad=True)
    clean_B, noise_B = deviation * normal(200_000), normal(200_000, 1)
    point(process, clean_B, noise_B, factor=factor).errors_B().mean().backward()  # type: ignore[no-untyped-call]
    assert factor.grad is not None
    assert abs(float(factor.grad)) < 0.02
    worse = point(process, clean_B, noise_B, factor=best + 0.1).errors_B().mean()
    assert worse > point(process, clean_B, noise_B, factor=best).errors_B().mean()


def test_the_denoiser_sees_the_videos_mixed_with_their_noise(
    made: Learner, videos: list[Finished]
) -> None:
    clean = torch.cat([video.clean for video in videos])
    seen = points_of(noised(made, videos))
    assert [one.index for one in seen] == list(range(STEPS))
    for one in seen:
        assert torch.equal(one.clean, clean)
        mixed = one.process.noised(one.index, clean, one.noise)
        torch.testing.assert_close(one.sample, mixed, rtol=1e-5, atol=1e-5)
        assert float(one.noise.std()) == pytest.approx(1.0, abs=0.3)
    assert all(not torch.equal(seen[0].noise, one.noise) for one in seen[1:])


def test_every_look_is_at_the_same_samples(made: Learner, videos: list[Finished]) -> None:
    looked_at = noised(made, videos)
    first = looked_at.errors_KB()
    assert torch.equal(looked_at.errors_KB(), first)
    assert torch.equal(noised(made, videos).errors_KB(), first)
    with made.bench.adapter.disabled():
        assert not torch.equal(looked_at.errors_KB(), first)
    outputs = looked_at.outputs()
    for one in points_of(looked_at):
        torch.testing.assert_close(one.output.detach(), outputs[one.index])


def test_a_videos_error_does_not_depend_on_its_company(
    made: Learner, videos: list[Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = noised(made, videos, range(1, STEPS)).errors_KB()
    alone = [noised(made, [video], range(1, STEPS)).errors_KB() for video in videos]
    torch.testing.assert_close(torch.cat(alone, dim=1), together, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(made.bench.base.family, "one_video_per_call", True)
    by_one = noised(made, videos, range(1, STEPS)).errors_KB()
    torch.testing.assert_close(by_one, together, rtol=1e-4, atol=1e-6)


def test_gradients_of_parts_add_up(made: Learner, videos: list[Finished]) -> None:
    def learnt_from(*parts: list[Finished]) -> tuple[torch.Tensor, Learnt]:
        made.bench.optimiser.forget_gradients()
        learnt = Learnt(0.0, 0.0)
        for part in parts:
            learnt += noised(made, part).learn(Point.errors_B, of=4, penalty_weight=0.5)
        return gradient(made), learnt

    whole, of_whole = learnt_from(videos)
    split, of_split = learnt_from(videos[:1], videos[1:])
    torch.testing.assert_close(split, whole, rtol=1e-3, atol=1e-6)
    assert of_split.loss == pytest.approx(of_whole.loss, rel=1e-4)
    assert of_split.penalty == pytest.approx(of_whole.penalty, rel=1e-4)
    assert of_whole.penalty > 0
    assert of_whole.loss == pytest.approx(float(noised(made, videos).errors_KB().mean()), rel=1e-4)


def test_the_base_model_denoises_its_own_videos_better_than_noise(
    made: Learner, videos: list[Finished]
) -> None:
    noise = [
        Finished(video.number, video.prompt, torch.randn(video.clean.shape) * 3, video.process)
        for video in videos
    ]
    with made.bench.adapter.disabled():
        own, other = (noised(made, some, range(1, 3)).errors_KB() for some in (videos, noise))
    assert float(own.mean()) < 0.5 * float(other.mean())


def test_dropout_is_the_same_when_a_step_is_taken_again() -> None:
    def learnt() -> torch.Tensor:
        dropping = learner(
            adapter={"dropout": 0.5},
            method={"type": "sft_best", "batch_size": 4, "gradient_accumulation": 1},
        )
        found = all_finished(collect(dropping.bench, dropping.spec, step=0, end_only=True))
        noised(dropping, found, range(2)).learn(Point.errors_B, of=4)
        return gradient(dropping)

    assert torch.equal(learnt(), learnt())


def test_steps_are_drawn_by_seed_step_and_index(made: Learner) -> None:
    drawn = [
        tuple(drawn_steps(made.spec, range(10), step=step, index=index, count=3))
        for step in range(4)
        for index in range(4)
    ]
    assert len(set(drawn)) > 8
    assert all(len(set(steps)) == 3 and list(steps) == sorted(steps) for steps in drawn)
    assert {step for steps in drawn for step in steps} == set(range(10))
    again = drawn_steps(made.spec, range(10), step=0, index=0, count=3)
    assert tuple(again) == drawn[0]
    every = drawn_steps(made.spec, [1, 2, 5], step=0, index=0, count=None)
    assert every == [1, 2, 5]
