from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
import pytest

from vader_core.lines import PairsNeeded
from vader_core.pairs_needed import pairs_needed
from vader_core.statistics import paired_difference


def needed(
    differences: Sequence[float],
    *,
    seeds: int = 1,
    wanted: float | None = None,
    resolution: float = 0.0,
    looks: int = 1,
) -> PairsNeeded:
    """From prompts whose seeds all differ by the prompt's own difference."""
    after = [difference for difference in differences for _ in range(seeds)]
    ids = [f"p{i}" for i in range(len(differences)) for _ in range(seeds)]
    return pairs_needed(
        [0.0] * len(after),
        after,
        prompt_ids=ids,
        wanted_half_width=wanted,
        resolution=resolution,
        looks=looks,
    )


@pytest.mark.parametrize(
    ("half_width", "prompts"),
    # Student's t in tables: 2.306 * 1 / sqrt(9) = 0.769, 2.365 * 1 / sqrt(8) = 0.836;
    # for many, (1.96 / 0.1)**2 = 384.2 and two more, as t is a little above 1.96.
    [(0.8, 9), (0.84, 8), (0.1, 387), (100.0, 3)],
)
def test_the_number_is_that_of_students_interval(half_width: float, prompts: int) -> None:
    spread_of_one = [-1.0, 0.0, 1.0]
    assert statistics.stdev(spread_of_one) == 1
    found = needed(spread_of_one, wanted=half_width, seeds=2)
    assert found == PairsNeeded(
        wanted="given", half_width=half_width, prompts=prompts, pairs=2 * prompts
    )


def test_that_many_prompts_do_give_the_interval() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(0.3, 1, 400).tolist()
    count = needed(first, wanted=0.25).prompts
    assert count is not None
    again = rng.normal(0.3, 1, count).tolist()
    found = paired_difference([0.0] * count, again, prompt_ids=[f"p{i}" for i in range(count)])
    low, high = found.delta_ci95
    assert (high - low) / 2 == pytest.approx(0.25, rel=0.2)


def test_without_a_wish_it_is_the_interval_that_just_parts_the_difference_from_0() -> None:
    differences = [0.9, -0.5, 0.4, 0.0]
    found = needed(differences)
    assert found.wanted == "seen_difference"
    assert found.half_width == pytest.approx(0.2)
    assert found.prompts == needed(differences, wanted=0.2).prompts
    assert needed([-value for value in differences]) == found


def test_a_best_of_several_states_needs_more() -> None:
    one, of_four = (needed([-1.0, 0.0, 1.0], wanted=0.5, looks=looks) for looks in (1, 4))
    assert one.prompts is not None
    assert of_four.prompts is not None
    assert of_four.prompts > one.prompts


@pytest.mark.parametrize(
    ("differences", "wanted", "reason"),
    [
        ([0.1, 0.3], 0.1, "too_few_prompts"),
        ([0.1, 0.3], None, "too_few_prompts"),
        ([0.1, -0.1, 0.0], None, "no_difference"),
        ([0.2, 0.2, 0.2 + 1e-9], 0.1, "no_spread"),
        ([0.2, 0.2, 0.2], None, "no_spread"),
        ([-1.0, 0.0, 1.0], 1e-4, "out_of_reach"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(
    differences: list[float], wanted: float | None, reason: str
) -> None:
    found = needed(differences, wanted=wanted)
    assert (found.prompts, found.pairs, found.unknown_because) == (None, None, reason)


def test_a_difference_within_the_resolution_is_not_aimed_at() -> None:
    differences = [0.0004, 0.0009, 0.0005]
    assert needed(differences).prompts is not None
    assert needed(differences, resolution=1e-3).unknown_because == "no_difference"
