"""Each training once, in order, within the time: with trainers that only pretend."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path

import pytest

from benchmarks.evidence.cells import Cell
from benchmarks.evidence.records import Record
from benchmarks.evidence.running import Interrupted, Queue, Runs, Trainer, train_all
from tests.benchmarks.evidence_material import cell, few_prompts, point, put, record, small_cell


class Pretender:
    """Notes what it is asked to train and gives the same record for all."""

    def __init__(self, answer: Record | None) -> None:
        self.asked: list[str] = []
        self._answer = answer

    def __call__(self, asked: Cell, run: Path) -> Record | None:
        run.mkdir(parents=True, exist_ok=True)
        self.asked.append(asked.label)
        return self._answer


DONE = record(point(0, 1.0), point(48, 2.0))


def test_what_has_a_record_is_not_trained_again(tmp_path: Path) -> None:
    runs, cells = Runs(tmp_path), [cell("ddpo"), cell("dpo")]
    put(runs, cells[0], DONE)
    train = Pretender(DONE)
    train_all(cells, runs, train, jobs=1, until=math.inf)
    assert train.asked == ["dpo"]
    train_all(cells, runs, train, jobs=1, until=math.inf)
    assert train.asked == ["dpo"]
    assert runs.record(cells[1]) == DONE


def test_another_spec_is_another_training(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    put(runs, cell("ddpo"), DONE)
    assert runs.missing([cell("ddpo", queries=48), cell("ddpo")]) == [cell("ddpo", queries=48)]


def test_cells_with_one_spec_are_trained_once(tmp_path: Path) -> None:
    train = Pretender(DONE)
    cells = [cell("ddpo"), cell("ddpo", study="anchors")]
    train_all(cells, Runs(tmp_path), train, jobs=1, until=math.inf)
    assert len(train.asked) == 1


def test_a_failure_that_may_pass_leaves_no_record_and_the_others_go_on(tmp_path: Path) -> None:
    runs, cells, train = Runs(tmp_path), [cell("ddpo"), cell("dpo")], Pretender(None)
    train_all(cells, runs, train, jobs=1, until=math.inf)
    assert train.asked == ["ddpo", "dpo"]
    assert runs.missing(cells) == cells


def test_an_interruption_ends_the_rest(tmp_path: Path) -> None:
    asked: list[str] = []

    def stopped(one: Cell, _run: Path) -> Record | None:
        asked.append(one.label)
        raise Interrupted(one.title)

    with pytest.raises(Interrupted):
        train_all([cell("ddpo"), cell("dpo")], Runs(tmp_path), stopped, jobs=1, until=math.inf)
    assert asked == ["ddpo"]


def test_nothing_is_begun_that_would_end_too_late_and_shorter_ones_still_are() -> None:
    seconds = {"reward_gradient": 1e6, "ddpo": 1.0}
    queue = Queue(
        [cell("reward_gradient"), cell("ddpo")],
        seconds=lambda one: seconds[one.label],
        until=time.monotonic() + 1000,
    )
    assert queue.take() == cell("ddpo")
    assert queue.take() is None


def test_a_training_is_expected_to_take_as_long_as_its_like(tmp_path: Path) -> None:
    runs, cells = Runs(tmp_path), [cell(seed=seed) for seed in (1, 2, 3)]
    guess = runs.seconds(cells[2], cells)
    put(runs, cells[0], record(point(0, 1.0), wall_seconds=70.0))
    put(runs, cells[1], record(point(0, 1.0), wall_seconds=50.0))
    assert runs.seconds(cells[2], cells) == 70.0
    assert runs.seconds(cell("ddpo"), cells) == guess


def test_a_stopped_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_prompts(monkeypatch)
    runs, trainer, one = Runs(tmp_path), Trainer(threads=1), small_cell(queries=12)
    lines = runs.of(one) / "lines.jsonl"

    def stop_in_the_middle() -> None:
        while not (lines.exists() and '"step":2,' in lines.read_text()):
            time.sleep(0.05)
        trainer.stop()

    stopper = threading.Thread(target=stop_in_the_middle)
    stopper.start()
    with pytest.raises(Interrupted):
        train_all([one], runs, trainer, jobs=1, until=math.inf)
    stopper.join()
    assert runs.record(one) is None
    train_all([one], runs, Trainer(threads=1), jobs=1, until=math.inf)
    found = runs.record(one)
    assert found is not None
    assert found.final.used.reward_queries == 12
    started = [json.loads(text) for text in lines.read_text().splitlines() if '"started"' in text]
    assert [line["resumed_from"] is None for line in started] == [True, False]
