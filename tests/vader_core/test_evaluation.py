from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vader_core.tiny_models import reward
from tests.vader_core.trainer import small_spec
from vader_core.evaluation import heldout_pairs
from vader_core.objective import GuardMean
from vader_core.spec import JobSpec, Prompt


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(small_spec(**changes))


def held_out(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"prompt {i}", "heldout": True} for i in range(count)]


def test_pairs_are_the_heldout_prompts_times_the_seeds() -> None:
    inline = [*held_out(3), {"prompt": "seen", "heldout": False}]
    pairs = heldout_pairs(spec(prompts={"inline": inline}, evaluation={"num_prompts": 9}))
    assert {(pair.prompt.prompt, pair.seed) for pair in pairs} == {
        (f"prompt {i}", seed) for i in range(3) for seed in (1, 2)
    }
    # The videos of one prompt follow each other.
    assert [pair.prompt_id for pair in pairs[::2]] == [pair.prompt_id for pair in pairs[1::2]]


def test_the_choice_of_prompts_does_not_depend_on_their_order() -> None:
    forwards, backwards = held_out(20), held_out(20)[::-1]
    chosen = [
        [pair.name for pair in heldout_pairs(spec(prompts={"inline": inline}))]
        for inline in (forwards, backwards)
    ]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 4


def test_repeated_prompts_and_seeds_make_no_second_pair() -> None:
    inline = [*held_out(2), *held_out(2)]
    pairs = heldout_pairs(spec(prompts={"inline": inline}, evaluation={"seeds": [3, 3]}))
    assert len(pairs) == len({pair.name for pair in pairs}) == 2


def test_a_pair_has_the_same_noise_whoever_asks_and_another_than_the_next() -> None:
    first, second, *_ = heldout_pairs(spec())
    noise = [
        torch.randn(4, generator=pair.generator("evaluation")) for pair in (first, first, second)
    ]
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_a_guard_that_compares_videos_of_a_prompt_does_so_in_any_batching(batch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    frames_BFCHW = torch.rand(6, 2, 3, 4, 4, generator=generator)
    prompts = [Prompt(prompt=name) for name in ("a", "a", "a", "b", "b", "b")]
    diversity = reward("diversity")
    tally = GuardMean(diversity)
    for start in range(0, 6, batch):
        tally.add(frames_BFCHW[start : start + batch], prompts[start : start + batch])
    expected = diversity.score(frames_BFCHW, prompts).mean()
    assert tally.mean() == pytest.approx(float(expected))
