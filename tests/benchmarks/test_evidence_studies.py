"""Every training of the comparison is one that the trainer takes, and is fair to the methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.evidence import tuning as tuning_step
from benchmarks.evidence.cells import videos_per_step
from benchmarks.evidence.methods import (
    KNOBS,
    LEARNING_RATES,
    METHODS,
    TUNING_FILE,
    TUNING_SEED,
    choose,
    knob_trial,
    read_tuning,
    tuned,
    write_tuning,
)
from benchmarks.evidence.running import Runs
from benchmarks.evidence.studies import SEEDS, all_cells, cosine_places, knob_cells, rate_cells
from benchmarks.evidence.tasks import HELDOUT_PAIRS, TASKS, TRAINED_PAIRS, UNSEEN_COLOUR, Task
from tests.benchmarks.evidence_material import TUNING, point, put, record
from vader_core.catalogue import BUILT_IN
from vader_core.resolve import check
from vader_core.spec import Prompt


def words(prompts: tuple[Prompt, ...]) -> set[str]:
    return {word for prompt in prompts for word in prompt.prompt.split()}


def test_every_training_is_one_that_the_trainer_takes() -> None:
    specs = {
        cell.run: cell.spec
        for cell in [
            *rate_cells().values(),
            *knob_cells(TUNING.results).values(),
            *all_cells(TUNING),
        ]
    }
    for spec in specs.values():
        assert check(spec, BUILT_IN, lambda _prompt_set: None).seed == spec["seed"]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_held_out_prompts_are_new_combinations_of_known_words(task: Task) -> None:
    trained = {prompt.prompt for prompt in task.training}
    assert not trained & {prompt.prompt for prompt in task.heldout}
    assert words(task.heldout) <= words(task.training)
    assert UNSEEN_COLOUR not in words(task.training) | words(task.heldout)
    assert all(UNSEEN_COLOUR in prompt.prompt for prompt in task.unseen_words)
    assert len(task.heldout) == 8


def test_no_pair_of_colour_and_shape_is_both_trained_and_held_out() -> None:
    assert not set(TRAINED_PAIRS) & set(HELDOUT_PAIRS)
    assert len(TRAINED_PAIRS) + len(HELDOUT_PAIRS) == 15


def test_the_headline_comes_first_and_the_first_seed_before_the_others() -> None:
    cells = all_cells(TUNING)
    order = list(dict.fromkeys((cell.study, cell.task, cell.seed) for cell in cells))
    assert order[:4] == [("methods", task, 1) for task in TASKS]
    assert order[4:6] == [("methods", "preference", seed) for seed in (2, 3)]
    assert {study for study, _, _ in order[6:9]} == {"sites", "anchors"}
    for study, task, _ in order:
        seeds = [seed for one, other, seed in order if (one, other) == (study, task)]
        assert seeds == list(SEEDS)


def test_black_box_rewards_are_for_methods_without_gradient() -> None:
    jpeg = {cell.label for cell in all_cells(TUNING) if cell.task == "jpeg"}
    assert jpeg == set(METHODS) - {"reward_gradient"}


def test_all_methods_get_the_same_queries_at_a_task_and_six_evaluations_or_more() -> None:
    methods = [cell for cell in all_cells(TUNING) if cell.study == "methods"]
    for task in TASKS.values():
        assert {cell.queries for cell in methods if cell.task == task.name} == {task.queries}
    for cell in [*all_cells(TUNING), *rate_cells().values()]:
        assert cell.evaluate_every % videos_per_step(cell.method) == 0
        assert cell.queries // cell.evaluate_every >= 6


def test_a_method_without_a_chosen_rate_is_left_out() -> None:
    partly = TUNING.model_copy(update={"chosen": {"ddpo": {"learning_rate": 1e-3}}})
    assert {cell.label for cell in all_cells(partly)} == {"ddpo"}
    assert all(place.trained is None for place in cosine_places(partly))


def test_cells_with_the_same_spec_share_a_training_and_others_do_not() -> None:
    cells = all_cells(TUNING)
    by_run: dict[str, list[object]] = {}
    for cell in cells:
        by_run.setdefault(cell.run, []).append(cell.spec)
    assert len(by_run) < len(cells)
    assert all(spec == specs[0] for specs in by_run.values() for spec in specs)


def test_the_rates_are_the_same_for_all_and_avoid_the_seeds_of_the_comparison() -> None:
    rates: dict[str, list[object]] = {}
    for cell in rate_cells().values():
        rates.setdefault(cell.label, []).append(cell.method["learning_rate"])
    assert set(rates) == set(METHODS)
    assert all(tuple(found) == LEARNING_RATES for found in rates.values())
    assert TUNING_SEED not in SEEDS


def test_every_method_gets_one_more_trial_at_its_best_rate() -> None:
    cells = knob_cells(TUNING.results)
    assert set(cells) == {(method, knob_trial(method, 1e-3)) for method in METHODS}
    for cell in cells.values():
        assert cell.method["learning_rate"] == 1e-3
        assert cell.method.items() >= KNOBS[cell.label].items()
    assert knob_cells({"ddpo": {"0.0003": 1.0}}) == {}


def test_the_best_trial_of_a_whole_set_is_chosen_and_a_diverged_one_never() -> None:
    rates: dict[str, float | None] = {"0.0003": 1.0, "0.001": 2.0, "0.003": None, "0.01": 0.5}
    results = {
        "ddpo": {**rates, knob_trial("ddpo", 1e-3): None},
        "dpo": {**rates, knob_trial("dpo", 1e-3): 2.5},
        "grpo": {**rates, knob_trial("grpo", 1e-3): 1.5},
        "sft_best": rates,
        "nft": dict.fromkeys(rates),
    }
    assert choose(results) == {
        "ddpo": {"learning_rate": 1e-3},
        "dpo": {"learning_rate": 1e-3, **KNOBS["dpo"]},
        "grpo": {"learning_rate": 1e-3},
    }
    tuning = TUNING.model_copy(update={"chosen": choose(results)})
    assert tuned("dpo", tuning)["beta"] == KNOBS["dpo"]["beta"]


def test_tuning_is_kept_in_a_file_and_a_known_trial_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    assert read_tuning(file) is None
    known = TUNING.model_copy(update={"results": {"dpo": {"0.0003": 1.0}}, "chosen": {}})
    write_tuning(known, file)
    assert read_tuning(file) == known
    trials = rate_cells()
    assert tuning_step.missing(trials, known) == [
        cell for name, cell in trials.items() if name != ("dpo", "0.0003")
    ]


def test_results_of_trials_are_added_to_those_that_are_known(tmp_path: Path) -> None:
    runs, trials = Runs(tmp_path), rate_cells()
    assert tuning_step.collect(trials, runs, None) is None
    put(runs, trials["ddpo", "0.001"], record(point(0, 1.0), point(256, 3.0)))
    put(runs, trials["nft", "0.003"], record(point(0, 1.0), error="diverged: It fell."))
    known = TUNING.model_copy(update={"results": {"dpo": {"0.0003": 1.0}}, "chosen": {}})
    found = tuning_step.collect(trials, runs, known)
    assert found is not None
    assert found.results == {"dpo": {"0.0003": 1.0}, "ddpo": {"0.001": 3.0}, "nft": {"0.003": None}}


def test_the_file_of_this_repository_is_of_the_present_grid() -> None:
    kept = read_tuning(TUNING_FILE)
    if kept is not None:
        assert set(kept.chosen) == set(METHODS)
        assert kept.chosen == choose(kept.results)
