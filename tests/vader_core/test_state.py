from __future__ import annotations

from vader_core.state import Evaluated, TrainState


def state(**fields: object) -> TrainState:
    return TrainState.model_validate(
        {"training_hash": "", "continuation_hash": "", "versions": {}, **fields}
    )


def evaluated(step: int) -> Evaluated:
    return Evaluated(step=step, heldout_reward=1 / 3, guards=[0.1], guards_held=True)


def test_the_file_gives_back_every_bit() -> None:
    before = state(step=3, recent_rewards=[0.1 + 0.2, 1e-17], evaluations=[evaluated(0)])
    assert TrainState.model_validate_json(before.model_dump_json()) == before


def test_an_evaluation_is_due_once_at_its_steps() -> None:
    assert not state(step=0).evaluation_due(5)
    assert not state(step=4).evaluation_due(5)
    assert not state(step=5).evaluation_due(None)
    assert state(step=5, evaluations=[evaluated(0)]).evaluation_due(5)
    assert not state(step=5, evaluations=[evaluated(0), evaluated(5)]).evaluation_due(5)


def test_the_first_ten_and_the_last_twenty_rewards_and_five_durations_are_remembered() -> None:
    run = state()
    for step in range(25):
        run.count_step(reward=step, reward_queries=8, denoiser_forwards=6, seconds=2 * step)
    assert run.opening_rewards == list(range(10))
    assert run.recent_rewards == list(range(5, 25))
    assert run.recent_step_seconds == [40, 42, 44, 46, 48]
    assert (run.step, run.reward_queries) == (25, 200)
