from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from vader_core.lines import Verdict
from vader_core.statistics import (
    paired_difference,
    resolution,
    student_half_width,
    unpaired_difference,
    verdict,
)

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def a_probability(rng: np.random.Generator, prompts: int, seeds: int) -> np.ndarray:
    """Scores of a sure classifier: near 0 or 1, alike for the seeds of a prompt."""
    leaning = rng.beta(0.3, 0.3, (prompts, 1))
    hits = rng.random((prompts, seeds)) < leaning
    return np.clip(hits + rng.normal(0, 0.01, hits.shape), 0, 1)


def a_bell(rng: np.random.Generator, prompts: int, seeds: int) -> np.ndarray:
    return rng.normal(0, 1, (prompts, 1)) + rng.normal(0, 0.5, (prompts, seeds))


def a_skewed_score(rng: np.random.Generator, prompts: int, seeds: int) -> np.ndarray:
    return rng.lognormal(0, 1, (prompts, 1)) * rng.lognormal(0, 0.3, (prompts, seeds))


def names(prompts: int, seeds: int) -> list[str]:
    return [f"p{prompt}" for prompt in range(prompts) for _ in range(seeds)]


@pytest.mark.parametrize("draw", [a_probability, a_bell, a_skewed_score])
@pytest.mark.parametrize(("prompts", "seeds"), [(1, 1), (1, 4), (2, 2), (3, 1), (5, 2), (16, 2)])
def test_without_an_effect_a_clear_verdict_is_rare(draw: Draw, prompts: int, seeds: int) -> None:
    rng = np.random.default_rng(7)
    ids, clear, trials = names(prompts, seeds), 0, 600
    for _ in range(trials):
        # An adapter that changes nothing: a fresh draw for the same prompts.
        before, after = draw(rng, prompts, 2 * seeds).reshape(prompts, 2, seeds).swapaxes(0, 1)
        found = paired_difference(before.ravel().tolist(), after.ravel().tolist(), prompt_ids=ids)
        clear += verdict(found) != "no_clear_difference"
    # 5 % is promised; 600 trials scatter by 0.9 %.
    assert clear / trials <= 0.06 + 0.015


def test_a_real_effect_is_found() -> None:
    rng = np.random.default_rng(8)
    before = a_bell(rng, 16, 2)
    after = before + 0.5 + rng.normal(0, 0.3, before.shape)
    found = paired_difference(
        before.ravel().tolist(), after.ravel().tolist(), prompt_ids=names(16, 2)
    )
    assert verdict(found) == "improved"
    assert (
        verdict(
            paired_difference(
                after.ravel().tolist(), before.ravel().tolist(), prompt_ids=names(16, 2)
            )
        )
        == "worse"
    )
    assert found.delta == pytest.approx(found.adapter - found.base)


def test_seeds_of_one_prompt_count_as_one_observation() -> None:
    """Ten seeds of each of three prompts must not look like thirty independent pairs."""
    before, after = [0.0] * 30, [0.9] * 10 + [0.1] * 10 + [0.2] * 10
    found = paired_difference(before, after, prompt_ids=names(3, 10))
    assert verdict(found) == "no_clear_difference"
    apart = paired_difference(before, after, prompt_ids=[f"p{i}" for i in range(30)])
    assert verdict(apart) == "improved"


@pytest.mark.parametrize("prompts", [1, 2])
def test_one_or_two_prompts_never_carry_a_verdict(prompts: int) -> None:
    found = paired_difference([0.0] * prompts, [1.0] * prompts, prompt_ids=names(prompts, 1))
    assert verdict(found) == "no_clear_difference"


def test_the_interval_of_one_observation_covers_the_truth() -> None:
    rng = np.random.default_rng(9)
    for mean in (0.0, 0.5, 1.0, 3.0):
        drawn = rng.normal(mean, 1, 4000)
        intervals = [paired_difference([0.0], [x], prompt_ids=["p"]).delta_ci95 for x in drawn]
        assert np.mean([low <= mean <= high for low, high in intervals]) >= 0.94


def test_no_difference_at_all_is_no_clear_difference() -> None:
    found = paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], prompt_ids=["a", "b", "c"])
    assert found.delta_ci95 == (0.0, 0.0)
    assert verdict(found) == "no_clear_difference"


@pytest.mark.parametrize(
    ("prompts", "expected"), [(3, "no_clear_difference"), (5, "no_clear_difference"), (6, "worse")]
)
def test_differences_that_are_all_alike_need_six_prompts(prompts: int, expected: Verdict) -> None:
    """Five equal signs come by chance in 1 of 16 cases, six in 1 of 32."""
    for dust in (0.0, 1e-9):
        before = [1.0 + dust * i for i in range(prompts)]
        found = paired_difference(before, [0.0] * prompts, prompt_ids=names(prompts, 1))
        assert verdict(found) == expected


def test_the_slightest_real_spread_is_a_spread() -> None:
    found = paired_difference([0.0] * 3, [1.0, 1.01, 0.99], prompt_ids=names(3, 1))
    assert verdict(found) == "improved"


def test_a_difference_within_the_resolution_is_none() -> None:
    before, after = [0.5] * 6, [0.5009, 0.5008, 0.5009, 0.5008, 0.5009, 0.5008]
    ids = names(6, 1)
    assert verdict(paired_difference(before, after, prompt_ids=ids)) == "improved"
    least = resolution([*before, *after], (0.0, 1.0))
    assert least == 1e-3
    within = paired_difference(before, after, prompt_ids=ids, resolution=least)
    assert verdict(within) == "no_clear_difference"
    # The interval says what was seen all the same.
    assert within.delta_ci95[0] > 0


def test_the_resolution_follows_the_scores_where_they_have_no_bounds() -> None:
    assert resolution([3.0, -2000.0], (None, 0.0)) == pytest.approx(2e-3)
    assert resolution([3.0, -2000.0], (-1.0, 1.0)) == pytest.approx(2e-3)
    assert resolution([0.3], (-1.0, 1.0)) == 2e-3


def test_the_best_of_several_states_has_an_interval_that_holds_for_all_of_them() -> None:
    before, after = [0.0] * 8, [0.1, 0.3, 0.2, 0.5, 0.4, -0.1, 0.2, 0.3]
    one, of_four = (
        paired_difference(before, after, prompt_ids=names(8, 1), looks=looks) for looks in (1, 4)
    )
    # Student's t with 7 degrees of freedom: 2.3646 at 97.5 %, 3.3353 at 99.375 % (tables).
    widths = [found.delta_ci95[1] - found.delta for found in (one, of_four)]
    assert widths[1] / widths[0] == pytest.approx(3.3353 / 2.3646, rel=1e-4)
    assert one.delta == of_four.delta


def test_half_the_interval_is_students() -> None:
    assert student_half_width(2.0, 16) == pytest.approx(2.13145 * 2 / 4, rel=1e-5)


def test_scores_of_different_prompts_are_compared_without_pairs() -> None:
    """Against scipy's Welch test over the prompts' means."""
    rng = np.random.default_rng(7)
    first, second = rng.normal(0.4, 0.1, (9, 2)), rng.normal(0.6, 0.2, (6, 3))
    found = unpaired_difference(
        first.ravel().tolist(),
        second.ravel().tolist(),
        first_prompts=[f"a{i}" for i in range(9) for _ in range(2)],
        second_prompts=[f"b{i}" for i in range(6) for _ in range(3)],
    )
    assert found is not None
    expected = stats.ttest_ind(second.mean(1), first.mean(1), equal_var=False)
    interval = expected.confidence_interval()
    assert found.delta == pytest.approx(second.mean() - first.mean())
    assert found.delta_ci95 == pytest.approx((interval.low, interval.high))


def test_without_spread_or_prompts_nothing_is_said_of_unpaired_scores() -> None:
    alike = unpaired_difference(
        [0.5, 0.5], [0.6, 0.6], first_prompts=["a", "b"], second_prompts=["c", "d"]
    )
    assert alike is None
    one = unpaired_difference(
        [0.1, 0.5], [0.2, 0.6], first_prompts=["a", "b"], second_prompts=["c", "c"]
    )
    assert one is None
