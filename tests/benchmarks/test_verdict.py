"""The verdict's honesty, in small: the same trials as docs/verdict.md, fewer of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import verdict, verdict_trials
from benchmarks.other_intervals import bootstrap_t, johnson, sign_flips, student
from benchmarks.score_worlds import EVEN_CHANGES, LOPSIDED, NOTHING_CHANGED, Draw
from benchmarks.verdict_trials import Rate

TRIALS = 800


@pytest.mark.parametrize("name", [*NOTHING_CHANGED, *EVEN_CHANGES])
def test_at_most_6_of_100_are_called_clear_where_there_is_no_effect(name: str) -> None:
    draw = {**NOTHING_CHANGED, **EVEN_CHANGES}[name]
    rates = verdict.false_verdict_rates(
        {name: draw}, trials=TRIALS, prompts=(3, 4, 8, 16), seeds=(1, 2)
    )
    # No cell is above 6 % by more than the scatter of its trials, and all together are below it.
    assert all(rate.interval[0] <= verdict.ALLOWED for rate in rates.values())
    assert sum(rate.hits for rate in rates.values()) <= verdict.ALLOWED * TRIALS * len(rates)


@pytest.mark.parametrize("draw", [*NOTHING_CHANGED.values(), *EVEN_CHANGES.values()])
def test_the_worlds_without_effect_have_none(draw: Draw) -> None:
    drawn = draw(np.random.default_rng(0), (4000, 4, 2))
    differences = (drawn.adapter - drawn.base).mean((1, 2))
    error = differences.std() / np.sqrt(len(differences))
    assert abs(differences.mean()) < 4 * error
    assert differences.std() > 0


@pytest.mark.parametrize("draw", LOPSIDED.values())
def test_lopsided_changes_have_the_mean_0_too(draw: Draw) -> None:
    drawn = draw(np.random.default_rng(0), (20_000, 4, 1))
    differences = (drawn.adapter - drawn.base).mean((1, 2))
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(len(differences))


@pytest.mark.parametrize(("effect", "prompts"), [(0.5, 16), (1.0, 8)])
def test_power_is_that_of_the_noncentral_t(effect: float, prompts: int) -> None:
    found = verdict_trials.power(effect, trials=3000, prompts=prompts)
    quantile = stats.t.ppf(0.975, prompts - 1)
    exact = 1 - stats.nct.cdf(quantile, prompts - 1, effect * np.sqrt(prompts))
    assert found.interval[0] - 0.01 < exact < found.interval[1] + 0.01


def test_the_best_of_eight_states_is_not_better_by_luck_once_the_interval_is_for_all() -> None:
    plain, corrected = (
        verdict_trials.verdicts_of_the_best(
            trials=1500, prompts=16, states=8, drifting=False, corrected=corrected
        )
        for corrected in (False, True)
    )
    assert plain.interval[0] > 0.1
    assert corrected.share < 0.05


def test_the_median_estimate_is_near_the_number_truly_needed() -> None:
    found = verdict_trials.estimates(0.5, trials=400, prompts=16, most=64)
    # (1.96 / 0.5)**2 = 15.4, and t a little more.
    assert found.truth == 18
    assert abs(found.quartiles[1] - found.truth) <= 2
    # An interval of the effect's own size shows it in about half of the cases.
    assert 0.4 < found.improved.share < 0.6


def test_a_rate_knows_how_sure_it_is() -> None:
    exact = stats.binomtest(7, 120).proportion_ci(0.95, method="exact")
    assert Rate(7, 120).interval == pytest.approx((exact.low, exact.high))
    assert Rate(0, 10).interval[0] == 0
    assert Rate(10, 10).interval[1] == 1


def test_the_other_ways_are_what_they_are_called() -> None:
    rng = np.random.default_rng(5)
    differences = rng.normal(0.6, 1, (40, 7))
    assert (student(differences) == (stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05)).all()
    signs = np.array(list(itertools.product([1, -1], repeat=7)))
    for row, clear in zip(differences, sign_flips(differences), strict=True):
        as_large = np.abs((signs * row).mean(1)) >= abs(row.mean()) - 1e-12
        assert clear == (as_large.mean() <= 0.05)
    even = np.array([[-1.0, 1.0, 4.0, 6.0, 8.0, 14.0, 16.0, 18.0]])
    even = np.hstack([even, 15 - even])
    # Without skewness Johnson's t is Student's.
    assert (johnson(even) == student(even)).all()
    assert bootstrap_t(rng.normal(3, 1, (20, 12))).all()


def test_the_page_that_is_shown_is_of_these_trials() -> None:
    page = Path(verdict.__file__).parents[1].joinpath("docs/verdict.md").read_text()
    rates = [
        verdict_trials.false_verdicts(draw, trials=10_000, prompts=3, seeds=1)
        for draw in (NOTHING_CHANGED["bell"], EVEN_CHANGES["changes prompts, normal"])
    ]
    for name, rate in zip(("bell", "changes prompts, normal"), rates, strict=True):
        low, high = (100 * end for end in rate.interval)
        assert f"| {name} | 1 | {100 * rate.share:.1f} [{low:.1f}, {high:.1f}] |" in page


def test_the_page_holds_every_table() -> None:
    page = verdict.page(20)
    for name in (*NOTHING_CHANGED, *EVEN_CHANGES, *LOPSIDED):
        assert f"| {name} |" in page
    assert sum(line.startswith("| --- |") for line in page.splitlines()) == 9
    assert "{" not in page
