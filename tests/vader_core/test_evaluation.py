from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.tiny_models import reward
from tests.vader_core.trainer import Trainer, of_type, small_spec
from vader_core import lines, seeds
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


def test_repeated_prompts_make_no_second_pair() -> None:
    inline = [*held_out(2), *held_out(2)]
    pairs = heldout_pairs(spec(prompts={"inline": inline}, evaluation={"seeds": [3]}))
    assert len(pairs) == len({pair.name for pair in pairs}) == 2


def test_prompts_that_differ_in_their_first_image_alone_are_prompts_of_their_own() -> None:
    inline = [{"prompt": "animate", "image": f"{i}.png", "heldout": True} for i in range(16)]
    pairs = heldout_pairs(spec(prompts={"inline": inline}, evaluation={"num_prompts": 16}))
    assert {pair.prompt.image for pair in pairs} == {f"{i}.png" for i in range(16)}
    assert len({pair.name for pair in pairs}) == 32
    drawn = {float(torch.randn(1, generator=pair.generator("evaluation"))) for pair in pairs}
    assert len(drawn) == 32


def test_names_and_noise_of_prompts_without_images_are_those_they_always_had() -> None:
    inline = [{"prompt": "a red circle", "heldout": True}]
    (pair,) = heldout_pairs(spec(prompts={"inline": inline}, evaluation={"seeds": [7]}))
    digits = hashlib.sha256(b"a red circle").hexdigest()[:10]
    assert pair.name == f"p_{digits}-s7"
    expected = seeds.generator(7, step=0, purpose="evaluation", index=int(digits, 16))
    assert pair.generator("evaluation").initial_seed() == expected.initial_seed()


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
    tally = GuardMean(diversity, chunk_frames=1)
    for start in range(0, 6, batch):
        tally.add(frames_BFCHW[start : start + batch], prompts[start : start + batch])
    expected = diversity.score(frames_BFCHW, prompts).mean()
    assert tally.mean() == pytest.approx(float(expected))


@pytest.mark.parametrize(("learning_rate", "stays"), [(0.0, True), (1e-2, False)])
def test_a_guard_compares_the_adapters_videos_with_the_base_models_own(
    tmp_path: Path, learning_rate: float, *, stays: bool
) -> None:
    """An adapter that learnt nothing gives the base model's very videos."""
    status, seen = Trainer(tmp_path)(
        method={"learning_rate": learning_rate},
        guards=[{"reward": "reference-distance", "min_ratio_to_base": 0.9999}],
        evaluation={"every_steps": 1},
        budget={"max_steps": 2},
    )
    assert status == 0
    before, *after = [line.guards for line in of_type(seen, lines.EvaluationDone)]
    assert before == []
    for (guard,) in after:
        assert guard.base == 1.0
        assert (guard.adapter == 1.0) is stays
    assert after[-1][0].ok is stays


def test_a_guard_whose_ratio_means_nothing_is_judged_by_the_base_models_spread(
    tmp_path: Path,
) -> None:
    status, seen = Trainer(tmp_path)(
        method={"learning_rate": 0.0},
        guards=[{"reward": "tiny-text-match", "max_drop": 0.25}, {"reward": "motion"}],
        budget={"max_steps": 1},
    )
    assert status == 0
    match, motion = of_type(seen, lines.EvaluationDone)[-1].guards
    assert (match.rule, match.drop, match.max_drop, match.ok) == ("drop", 0.0, 0.25, True)
    assert match.base_deviation is not None
    assert match.base_deviation > 0
    assert match.ratio_to_base is match.min_ratio_to_base is None
    assert (motion.rule, motion.ratio_to_base, motion.min_ratio_to_base) == ("ratio", 1.0, 0.8)
    assert motion.drop is motion.max_drop is None
