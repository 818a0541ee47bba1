from __future__ import annotations

import pytest

from vader_core.spec import EarlyStop
from vader_core.state import TrainState


def state(**fields: object) -> TrainState:
    return TrainState.model_validate({"spec_hash": "sha256:0", "versions": {}, **fields})


def test_the_file_gives_back_every_bit() -> None:
    before = state(step=3, recent_rewards=[0.1 + 0.2, 1e-17], heldout_rewards=[(0, 1 / 3)])
    assert TrainState.model_validate_json(before.model_dump_json()) == before


def test_an_evaluation_is_due_once_at_its_steps() -> None:
    assert not state(step=0).evaluation_due(5)
    assert not state(step=4).evaluation_due(5)
    assert not state(step=5).evaluation_due(None)
    assert state(step=5, heldout_rewards=[(0, 0.1)]).evaluation_due(5)
    assert not state(step=5, heldout_rewards=[(0, 0.1), (5, 0.2)]).evaluation_due(5)


@pytest.mark.parametrize(
    ("rewards", "stuck"),
    [
        ([0.1, 0.2, 0.3], False),
        ([0.3, 0.2], False),
        ([0.3, 0.2, 0.3], True),
        ([0.3, 0.2, 0.31], True),
        ([0.3, 0.2, 0.36], False),
        ([0.1, 0.3, 0.32, 0.34], True),
    ],
)
def test_a_run_is_stuck_after_two_evaluations_without_a_clear_rise(
    *, rewards: list[float], stuck: bool
) -> None:
    history = list(enumerate(rewards))
    early_stop = EarlyStop(patience_evals=2, min_delta=0.05)
    assert state(heldout_rewards=history).is_stuck(early_stop) is stuck
    assert not state(heldout_rewards=history).is_stuck(None)


def test_only_the_last_twenty_rewards_are_remembered() -> None:
    run = state()
    for step in range(25):
        run.count_step(reward=float(step), reward_queries=8)
    assert run.recent_rewards == [float(step) for step in range(5, 25)]
    assert (run.step, run.reward_queries) == (25, 200)
