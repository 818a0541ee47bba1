"""Every evaluation of a run tells the score of each held-out pair, by which runs can be compared."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.vader_core.trainer import Trainer, of_type
from vader_core import lines
from vader_core.statistics import paired_difference


def test_the_pairs_scores_are_those_that_the_verdict_rests_on(tmp_path: Path) -> None:
    status, seen = Trainer(tmp_path)(
        rewards=[{"reward": "tiny-action", "weight": 2.0}],
        guards=[],
        evaluation={"every_steps": 1},
        budget={"max_steps": 2},
    )
    assert status == 0
    found = of_type(seen, lines.EvaluationDone)
    assert [line.kind for line in found] == ["base", "periodic", "final"]
    places = [(pair.prompt_id, pair.seed) for pair in found[0].scores]
    assert len(set(places)) == found[0].pairs == 4
    for line in found:
        assert [(pair.prompt_id, pair.seed) for pair in line.scores] == places
        mean = statistics.fmean(pair.score for pair in line.scores)
        assert mean == pytest.approx(line.heldout_reward)
        assert all(
            pair.score == pytest.approx(2.0 * pair.rewards["tiny-action"]) for pair in line.scores
        )
    base, final = found[0].scores, found[-1].scores
    expected = paired_difference(
        [pair.score for pair in base],
        [pair.score for pair in final],
        prompt_ids=[pair.prompt_id for pair in base],
    )
    difference = found[-1].difference
    assert difference is not None
    assert difference.delta_ci95 == pytest.approx(expected.delta_ci95)
