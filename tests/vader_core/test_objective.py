from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.vader_core.tiny_models import PROMPTS, compute, reward
from vader_core.catalogue import BUILT_IN, RewardRow
from vader_core.errors import SpecUnusable
from vader_core.objective import GuardMean, Objective, load_objective
from vader_core.rewards import Term, WeightedSum
from vader_core.spec import JobSpec, Prompt


class Brightness:
    """The mean pixel: a reward whose value can be set."""

    def __init__(self, row: RewardRow) -> None:
        self.row = row

    def score(self, frames: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        del prompts
        return frames.flatten(1).mean(1)


def brightness(**changes: object) -> Brightness:
    return Brightness(BUILT_IN.rewards["motion"].model_copy(update=changes))


def frames_of(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1, 1).expand(-1, 2, 3, 4, 4)


def test_a_term_is_weighed_and_scaled() -> None:
    total, scores = WeightedSum([Term(brightness(), weight=3.0, scale=0.5)]).score(
        frames_of(0.2, 0.4), PROMPTS, chunk_frames=2
    )
    assert torch.allclose(total, torch.tensor([1.2, 2.4]))
    assert torch.allclose(scores["motion"], torch.tensor([0.2, 0.4]))


def test_a_term_with_an_aim_falls_on_both_sides_of_it() -> None:
    term = Term(brightness(), weight=2.0, aim=0.5)
    score = torch.tensor([0.3, 0.5, 0.6])
    assert torch.allclose(term.contribution(score), torch.tensor([-0.4, 0.0, -0.2]))
    assert torch.equal(term.objective(score), term.contribution(score))


def test_a_term_with_a_cap_counts_no_more_than_that() -> None:
    score = torch.tensor([0.3, 0.5, 0.6], requires_grad=True)
    term = Term(brightness(), weight=2.0, cap=0.5)
    assert torch.allclose(term.contribution(score), torch.tensor([0.6, 1.0, 1.0]))
    (slope,) = torch.autograd.grad(term.objective(score).sum(), score)
    assert float(slope[0]) == 2.0
    assert float(slope[2]) == 0.0


def test_a_capped_probability_is_climbed_by_its_logarithm_up_to_the_cap() -> None:
    score = torch.tensor([0.25, 0.6], requires_grad=True)
    term = Term(brightness(objective="log_score"), cap=0.5)
    assert torch.allclose(term.contribution(score), torch.tensor([0.25, 0.5]))
    assert torch.allclose(term.objective(score), torch.tensor([0.25, 0.5]).log())
    (slope,) = torch.autograd.grad(term.objective(score).sum(), score)
    assert slope.tolist() == [4.0, 0.0]


def test_a_cap_does_not_change_the_scale_that_the_base_models_spread_gives() -> None:
    scores = {"motion": [0.1, 0.3, 0.8]}
    scales = [
        Objective(
            WeightedSum([Term(brightness(), cap=cap)]), [], unscaled=frozenset({"motion"})
        ).measure_scales(scores)
        for cap in (None, 0.05)
    ]
    assert scales[0] == scales[1]


def test_probabilities_are_climbed_by_their_logarithm_and_reported_as_they_are() -> None:
    term = Term(brightness(objective="log_score"), weight=2.0)
    score = torch.tensor([0.5, 0.0])
    assert torch.allclose(term.contribution(score), torch.tensor([1.0, 0.0]))
    assert float(term.objective(score)[0]) == pytest.approx(2 * -0.6931, abs=1e-3)
    assert term.objective(score).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", [-5.0, -30.0, -45.0])
def test_videos_furthest_from_the_goal_have_the_gradient_that_leads_to_it(
    dtype: torch.dtype, logit: float
) -> None:
    """By the chain rule as training takes it: d log sigmoid(x) / dx is 1 - sigmoid(x), near 1."""
    term = Term(brightness(objective="log_score"))
    x = torch.tensor([logit], dtype=dtype, requires_grad=True)
    score = x.sigmoid()
    leaf = score.detach().requires_grad_()
    (outer,) = torch.autograd.grad(term.objective(leaf).sum(), leaf)
    (inner,) = torch.autograd.grad(score.sum(), x)
    assert outer.isfinite().all()
    assert 0.5 < float(outer * inner) < 1.01


def test_a_score_of_zero_has_a_finite_gradient_that_is_not_zero() -> None:
    leaf = torch.zeros(1, requires_grad=True)
    Term(brightness(objective="log_score")).objective(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert float(leaf.grad) > 0


def test_scales_are_the_spread_of_the_base_models_scores() -> None:
    unscaled = WeightedSum([Term(brightness(id="a")), Term(brightness(id="b"), scale=4.0)])
    objective = Objective(unscaled, [], unscaled=frozenset({"a"}))
    scales = objective.measure_scales({"a": [0.1, 0.3], "b": [0.0, 9.0]})
    assert list(scales) == ["a"]
    assert scales["a"].score == scales["a"].objective == pytest.approx(0.1)
    objective.calibrate(scales)
    assert [term.scale for term in objective.reward.terms] == [pytest.approx(0.1), 4.0]


@pytest.mark.parametrize(
    "term",
    [
        Term(brightness()),
        Term(brightness(objective="log_score")),
        Term(brightness(objective="log_score"), aim=0.01),
    ],
    ids=["score", "logarithm", "aim"],
)
def test_what_training_climbs_has_a_spread_of_one_over_the_base_models_videos(term: Term) -> None:
    """Probabilities near 0 spread little, their logarithms much: one scale cannot serve both."""
    scores = [1e-9, 1e-6, 3e-5, 2e-3, 1e-2, 4e-4]
    objective = Objective(WeightedSum([term]), [], unscaled=frozenset({"motion"}))
    objective.calibrate(objective.measure_scales({"motion": scores}))
    by_reward = {"motion": torch.tensor(scores, dtype=torch.float64)}
    climbed = objective.reward.objective(by_reward)
    assert float(climbed.std(correction=0)) == pytest.approx(1)
    if term.aim is None:
        assert float(objective.reward.total(by_reward).std(correction=0)) == pytest.approx(1)


def test_a_scale_that_is_given_as_a_number_serves_what_is_climbed_and_what_is_told() -> None:
    term = Term(brightness(objective="log_score"), scale=4.0)
    score = torch.tensor([0.5])
    assert float(term.objective(score)) == pytest.approx(-0.6931 / 4, abs=1e-4)
    assert float(term.contribution(score)) == pytest.approx(0.5 / 4)


def test_scores_without_spread_are_no_scale() -> None:
    objective = Objective(WeightedSum([Term(brightness())]), [], unscaled=frozenset({"motion"}))
    with pytest.raises(SpecUnusable, match="'motion'"):
        objective.measure_scales({"motion": [0.25, 0.25]})


def test_scores_that_are_all_as_far_from_the_aim_are_no_scale() -> None:
    objective = Objective(
        WeightedSum([Term(brightness(), aim=0.5)]), [], unscaled=frozenset({"motion"})
    )
    with pytest.raises(SpecUnusable, match="aim by 'motion'"):
        objective.measure_scales({"motion": [0.25, 0.75]})


class Watched(Brightness):
    """Remembers how many frames it saw at once."""

    def __init__(self, row: RewardRow) -> None:
        super().__init__(row)
        self.seen: list[int] = []

    def score(self, frames: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        self.seen.append(frames.shape[1])
        return super().score(frames, prompts)


@pytest.mark.parametrize(
    ("per", "chunk", "seen"),
    [
        ("frame", 2, [2, 2, 1]),
        ("frame", 9, [5]),
        ("video", 2, [5]),
        ("group", 2, [5]),
    ],
)
def test_evaluation_and_guards_see_frames_as_few_at_a_time_as_training(
    per: str, chunk: int, seen: list[int]
) -> None:
    frames = torch.rand(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = frames.flatten(1).mean(1)
    watched = Watched(brightness(per=per).row)
    total, _ = WeightedSum([Term(watched)]).score(frames, PROMPTS, chunk_frames=chunk)
    assert watched.seen == seen
    assert torch.allclose(total, expected)
    guard = Watched(watched.row)
    tally = GuardMean(guard, chunk_frames=chunk)
    tally.add(frames, [PROMPTS[0]] * 2)
    assert tally.mean() == pytest.approx(float(expected.mean()))
    assert tally.deviation() == pytest.approx(float(expected.std(correction=0)), rel=1e-4)
    assert guard.seen == seen


def test_terms_and_guards_come_from_the_spec() -> None:
    spec = JobSpec.model_validate(
        {
            "base_model": "tiny-unet",
            "rewards": [
                {"reward": "tiny-text-match", "weight": 2.0, "scale": "base"},
                {"reward": "motion", "scale": 0.1, "aim": 0.02},
            ],
            "guards": [{"reward": "diversity"}],
            "prompts": {"inline": [{"prompt": "a red circle"}]},
            "budget": {"max_steps": 1},
        }
    )
    objective = load_objective(spec, BUILT_IN, compute(torch.float32))
    assert objective.unscaled == {"tiny-text-match"}
    text, motion = objective.reward.terms
    assert (text.weight, text.scale, text.aim) == (2.0, 1.0, None)
    assert (motion.scale, motion.aim) == (0.1, 0.02)
    assert [guard.row.id for guard in objective.guards] == ["diversity"]
    assert reward("motion").row == motion.reward.row


def test_a_reward_that_is_named_several_times_with_the_same_parameters_is_loaded_once() -> None:
    spec = JobSpec.model_validate(
        {
            "base_model": "tiny-unet",
            "rewards": [{"reward": "tiny-text-match"}],
            "guards": [
                {"reward": "tiny-text-match"},
                {"reward": "tiny-text-match@1", "max_drop": 0.1},
                {"reward": "tiny-object-removal", "params": {"object": "circle"}},
                {"reward": "tiny-object-removal", "params": {"object": "square"}},
            ],
            "prompts": {"inline": [{"prompt": "a red circle"}]},
            "budget": {"max_steps": 1},
        }
    )
    objective = load_objective(spec, BUILT_IN, compute(torch.float32))
    (term,) = objective.reward.terms
    first, second, circle, square = objective.guards
    assert first is second is term.reward
    assert circle is not square
