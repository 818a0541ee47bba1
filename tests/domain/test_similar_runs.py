from __future__ import annotations

from typing import Any

import pytest

from domain import db, similar_runs
from tests import factories
from tests.past_runs import ran

pytestmark = pytest.mark.usefixtures("settings")

GPU, CPU = "1 x NVIDIA H200 (141 GiB)", "CPU, 2 cores, 16 GiB"
REWARDS: list[dict[str, Any]] = [{"reward": "tiny-text-match@1", "weight": 0.5}]


def peaks(**changes: Any) -> list[int]:
    with db.read() as session:
        return similar_runs.peaks(session, factories.spec(**changes))


def test_peaks_are_those_of_gpus() -> None:
    ran(hardware=CPU)
    assert peaks() == []
    ran(hardware=GPU)
    (found,) = peaks()
    assert found > 0


def test_other_models_that_score_have_another_peak_but_not_other_weights() -> None:
    ran(hardware=GPU, rewards=REWARDS)
    assert len(peaks(rewards=REWARDS)) == 1
    assert len(peaks(rewards=[{**REWARDS[0], "weight": 2.0}])) == 1
    assert peaks(rewards=[{"reward": "tiny-action@1"}]) == []
    assert peaks(rewards=[*REWARDS, {"reward": "tiny-action@1"}]) == []
    assert peaks(rewards=REWARDS, guards=[{"reward": "tiny-action@1"}]) == []
