from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch

from vader_core import seeds
from vader_core.method_spec import RewardGradient
from vader_core.methods import step_choice

STEPS = 12


def chosen(video: int = 0, *, inference_steps: int = STEPS, **fields: Any) -> frozenset[int]:
    return step_choice.choose(
        RewardGradient(**fields),
        inference_steps=inference_steps,
        generator=seeds.generator(1, step=0, purpose="gradient steps", index=video),
    )


def counts(choices: list[frozenset[int]]) -> Counter[int]:
    return Counter(step for steps in choices for step in steps)


def test_the_last_steps() -> None:
    assert chosen(differentiable_steps=3) == {9, 10, 11}
    assert chosen(differentiable_steps=30) == set(range(STEPS))


def test_given_steps_are_taken_as_they_are() -> None:
    assert chosen(step_choice="given", given_steps=[7, 0]) == {0, 7}
    assert chosen(step_choice="given", given_steps=[11]) == chosen(differentiable_steps=1)


def test_random_truncation_covers_all_lengths_evenly() -> None:
    choices = [
        chosen(video, step_choice="random_last", differentiable_steps=STEPS)
        for video in range(1200)
    ]
    for steps in choices:
        assert steps == set(range(STEPS - len(steps), STEPS))
    lengths = Counter(len(steps) for steps in choices)
    assert set(lengths) == set(range(1, STEPS + 1))
    # 100 expected of each; four standard deviations of a binomial count are 39.
    assert all(abs(count - 100) < 39 for count in lengths.values())


def test_random_truncation_may_be_bounded() -> None:
    lengths = {
        len(chosen(video, step_choice="random_last", differentiable_steps=2)) for video in range(40)
    }
    assert lengths == {1, 2}


@pytest.mark.parametrize("choice", ["random", "even"])
@pytest.mark.parametrize("count", [1, 3, 5, 6])
def test_steps_are_distinct_and_within_their_range(choice: str, count: int) -> None:
    fields = {"step_choice": choice, "differentiable_steps": count, "step_range": (0.25, 0.75)}
    choices = [chosen(video, **fields) for video in range(600)]
    assert all(len(steps) == count for steps in choices)
    seen = counts(choices)
    assert set(seen) == set(range(3, 9))
    expected = 600 * count / 6
    # Six standard deviations.
    assert all(
        abs(one - expected) <= 6 * (expected * (1 - count / 6)) ** 0.5 for one in seen.values()
    )


@pytest.mark.parametrize(("count", "places"), [(1, 7), (3, 12), (5, 12), (5, 30), (7, 7), (4, 50)])
def test_even_steps_are_evenly_spread_and_equally_likely(
    count: int, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all offsets that can be drawn: no step is lost at the end, and none is favoured."""
    choices = []
    for offset in range(places):
        monkeypatch.setattr(
            torch, "randint", lambda *_args, _of=offset, **_named: torch.tensor(_of)
        )
        choices.append(
            chosen(inference_steps=places, step_choice="even", differentiable_steps=count)
        )
    for steps in choices:
        assert len(steps) == count
        assert steps <= set(range(places))
        ordered = sorted(steps)
        gaps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
        assert gaps <= {places // count, -(-places // count)}
    assert counts(choices) == dict.fromkeys(range(places), count)


def test_only_the_random_numbers_given_decide() -> None:
    for choice in ("random", "even", "random_last"):
        fields = {"step_choice": choice, "differentiable_steps": 4}
        assert chosen(3, **fields) == chosen(3, **fields)
        assert len({chosen(video, **fields) for video in range(20)}) > 1
