"""What training climbs at the frames, by rewards whose gradients are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.vader_core.tiny_models import PROMPTS
from vader_core import frames
from vader_core.catalogue import BUILT_IN
from vader_core.errors import RewardNotFinite
from vader_core.frame_gradient import frame_gradient
from vader_core.method_spec import Frames, RelativePrompt, RewardGradient
from vader_core.rewards import Term, WeightedSum
from vader_core.spec import Prompt

SHAPE = (2, 5, 3, 4, 4)
RELATIVE = RelativePrompt(wanted="fine", unwanted="a very bad")


class Quadratic:
    """Minus half the squared distance from grey, summed over the values, mean over the frames."""

    row = BUILT_IN.rewards["tiny-preference"]

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        self.asked.append([prompt.prompt for prompt in prompts])
        assert len(frames_BFCHW) == len(prompts)
        assert float(frames_BFCHW.detach().min()) >= 0
        assert float(frames_BFCHW.detach().max()) <= 1
        return -0.5 * (frames_BFCHW - 0.5).square().sum((2, 3, 4)).mean(1)


class Worded(Quadratic):
    """Brightness, times the length of the prompt."""

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        self.asked.append([prompt.prompt for prompt in prompts])
        lengths = torch.tensor([float(len(prompt.prompt)) for prompt in prompts]).to(frames_BFCHW)
        return lengths * frames_BFCHW.flatten(1).mean(1)


class Broken(Quadratic):
    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        return super().score(frames_BFCHW, prompts) / 0


def videos(spread: float = 0.3) -> torch.Tensor:
    """Two videos in float64, the second one nearer to grey than the first."""
    drawn = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sizes = torch.tensor([spread, spread / 3], dtype=torch.float64).view(-1, 1, 1, 1, 1)
    return 0.5 + sizes * (2 * drawn - 1)


def sum_of(reward: Quadratic, **fields: float) -> WeightedSum:
    return WeightedSum([Term(reward, **fields)])


def test_a_video_beyond_the_cap_has_no_gradient_and_its_own_score() -> None:
    frames_BFCHW, whole = videos(), RewardGradient()
    plain = frame_gradient(sum_of(Quadratic()), frames_BFCHW, PROMPTS, method=whole)
    low, high = plain.scores["tiny-preference"].tolist()
    assert low < high
    capped = sum_of(Quadratic(), cap=(low + high) / 2, weight=3.0, scale=2.0)
    found = frame_gradient(capped, frames_BFCHW, PROMPTS, method=whole)
    assert torch.allclose(found.grad_BFCHW[0], 1.5 * plain.grad_BFCHW[0])
    assert torch.count_nonzero(found.grad_BFCHW[1]) == 0
    assert found.scores["tiny-preference"].tolist() == [low, high]
    assert found.objective_B.tolist() == pytest.approx([1.5 * low, 0.75 * (low + high)])


def test_the_worst_video_of_a_quadratic_reward_is_further_out_along_the_same_line() -> None:
    """grad = grey - x, so the worst video is x + radius (x - grey) / rms(x - grey)."""
    frames_BFCHW, radius = videos(), 0.05
    reward = Quadratic()
    found = frame_gradient(
        sum_of(reward), frames_BFCHW, PROMPTS, method=RewardGradient(worst_case_radius=radius)
    )
    away = frames_BFCHW - 0.5
    rms = away.flatten(1).square().mean(1).sqrt().view(-1, 1, 1, 1, 1)
    worst = away * (1 + radius / rms)
    assert torch.allclose(found.grad_BFCHW, -worst / SHAPE[1])
    true = -0.5 * away.square().sum((2, 3, 4)).mean(1)
    assert torch.allclose(found.scores["tiny-preference"].double(), true)
    at_worst = -0.5 * worst.square().sum((2, 3, 4)).mean(1)
    assert torch.allclose(found.objective_B.double(), at_worst)


def test_the_worst_video_lies_at_the_radius_and_within_the_range_of_pixels() -> None:
    frames_BFCHW = videos(spread=0.5)
    found = frame_gradient(
        sum_of(Quadratic()), frames_BFCHW, PROMPTS, method=RewardGradient(worst_case_radius=0.15)
    )
    moved = 0.5 - SHAPE[1] * found.grad_BFCHW - frames_BFCHW
    distances = moved.flatten(1).square().mean(1).sqrt().tolist()
    # The first video has pixels near black and white, which can go no further.
    assert distances[0] < 0.14
    assert distances[1] == pytest.approx(0.15)


def test_a_video_without_a_gradient_has_no_worst_neighbour() -> None:
    frames_BFCHW = torch.full(SHAPE, 0.5, dtype=torch.float64)
    found = frame_gradient(
        sum_of(Quadratic()), frames_BFCHW, PROMPTS, method=RewardGradient(worst_case_radius=0.1)
    )
    assert torch.count_nonzero(found.grad_BFCHW) == 0
    assert found.scores["tiny-preference"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("chunk_frames", [1, 2, 100])
def test_frames_count_as_they_are_weighed(chunk_frames: int) -> None:
    frames_BFCHW = videos()
    weights_BF = torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1], [0.0, 0.0, 0.5, 0.5, 0.0]]).double()
    found = frame_gradient(
        sum_of(Quadratic()),
        frames_BFCHW,
        PROMPTS,
        method=RewardGradient(decode_chunk_frames=chunk_frames),
        frame_weights_BF=weights_BF,
    )
    away = frames_BFCHW - 0.5
    of_frames = -0.5 * away.square().sum((2, 3, 4))
    assert torch.allclose(found.grad_BFCHW, -weights_BF.view(2, 5, 1, 1, 1) * away)
    assert torch.allclose(found.objective_B.double(), (weights_BF * of_frames).sum(1))
    assert torch.allclose(found.scores["tiny-preference"].double(), of_frames.mean(1))


def test_a_reward_of_whole_videos_has_no_frames_to_weigh() -> None:
    whole = Quadratic()
    whole.row = BUILT_IN.rewards["tiny-action"]
    with pytest.raises(ValueError, match="tiny-action does not score frame by frame"):
        frame_gradient(
            sum_of(whole),
            videos(),
            PROMPTS,
            method=RewardGradient(),
            frame_weights_BF=torch.ones(2, 5) / 5,
        )


def test_what_a_reward_likes_whatever_the_prompt_says_cancels() -> None:
    found = frame_gradient(
        sum_of(Quadratic()), videos(), PROMPTS, method=RewardGradient(relative_prompt=RELATIVE)
    )
    assert torch.count_nonzero(found.grad_BFCHW) == 0
    assert found.objective_B.tolist() == [0.0, 0.0]
    assert all(score < 0 for score in found.scores["tiny-preference"].tolist())


def test_a_relative_prompt_climbs_the_difference_and_reports_the_mean() -> None:
    frames_BFCHW, reward = videos(), Worded()
    found = frame_gradient(
        sum_of(reward, weight=2.0),
        frames_BFCHW,
        PROMPTS,
        method=RewardGradient(relative_prompt=RELATIVE, decode_chunk_frames=100),
    )
    assert reward.asked == [
        [f"{words}. {prompt.prompt}" for prompt in PROMPTS] for words in ("fine", "a very bad")
    ]
    brighter = len("fine") - len("a very bad")
    assert torch.allclose(
        found.grad_BFCHW, torch.full(SHAPE, 2.0 * brighter / frames_BFCHW[0].numel()).double()
    )
    brightness = frames_BFCHW.flatten(1).mean(1)
    lengths = torch.tensor([len(prompt.prompt) + len(". ") + 7.0 for prompt in PROMPTS]).double()
    assert torch.allclose(found.scores["tiny-preference"].double(), lengths * brightness)
    assert torch.allclose(found.objective_B.double(), 2.0 * brighter * brightness, rtol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"worst_case_radius": 0.1},
        {"relative_prompt": RELATIVE},
        {"relative_prompt": RELATIVE, "worst_case_radius": 0.1},
    ],
)
def test_every_reward_is_asked_as_often_as_the_budget_counts(fields: dict[str, object]) -> None:
    reward = Worded()
    method = RewardGradient.model_validate({"decode_chunk_frames": 100, **fields})
    frame_gradient(sum_of(reward), videos(), PROMPTS, method=method)
    assert len(reward.asked) == method.scores_per_video


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RewardNotFinite, match="tiny-preference"):
        frame_gradient(sum_of(Broken()), videos(), PROMPTS, method=RewardGradient())


def test_weights_fall_off_from_the_middle_by_the_papers_formula() -> None:
    """InstructVideo's exp(-lambda |i - middle|) with lambda 1 a frame is a decay of 8 for 16 frames."""
    selection = Frames(centre_decay=8.0)
    found = frames.weights(selection, torch.arange(16)[None], num_frames=16)
    assert found is not None
    expected = torch.exp(-(torch.arange(16).double() - 7.5).abs())
    assert torch.allclose(found[0], expected / expected.sum())


def test_weights_of_chosen_frames_sum_to_one_and_keep_their_proportions() -> None:
    selection = Frames(mode="random", n=2, centre_decay=2.0)
    numbers_BF = torch.tensor([[0, 4], [3, 5]])
    found = frames.weights(selection, numbers_BF, num_frames=9)
    assert found is not None
    assert torch.allclose(found.sum(1), torch.ones(2).double())
    assert float(found[0, 1] / found[0, 0]) == pytest.approx(float(torch.tensor(2 * 4 / 4.5).exp()))
    assert float(found[1, 1] / found[1, 0]) == pytest.approx(1)


def test_without_a_decay_no_frame_is_weighed() -> None:
    assert frames.weights(Frames(), torch.arange(3)[None], num_frames=3) is None
