from __future__ import annotations

from datetime import timedelta

import pytest

from domain import artifacts, db, events, metrics
from domain.claims import Claim
from domain.job_status import Status
from domain.tables import Event, MetricPoint
from tests import lives, trainer_lines
from tests.trainer_lines import done, evaluation, phase, sample, started, step, warned
from vader_core import lines

pytestmark = pytest.mark.usefixtures("settings")


def history(claim: Claim, *types: str) -> list[Event]:
    with db.read() as session:
        return events.list_after(session, job_id=claim.job_id, types=types, limit=1000)


def points(claim: Claim, *keys: str) -> list[MetricPoint]:
    with db.read() as session:
        return metrics.series(session, job_id=claim.job_id, keys=keys)


def test_the_trainers_first_line_makes_the_job_run() -> None:
    lives.waiting()
    claim = lives.claimed()
    job = lives.told(claim, started())
    assert (job.status, job.phase) == ("running", "loading")
    with db.read() as session:
        attempt = artifacts.attempts(session, job_id=claim.job_id)[0]
    assert attempt.environment is not None
    assert attempt.environment["versions"] == {"torch": "2.13.0"}


def test_phases_are_told_and_exporting_is_finalizing() -> None:
    claim = lives.training()
    assert lives.told(claim, phase("evaluating")).phase == "evaluating"
    job = lives.told(claim, phase("exporting", step=20))
    assert (job.status, job.phase) == ("finalizing", "exporting")
    assert lives.told(claim, done()).status == "finalizing"
    told = [event.data["phase"] for event in history(claim, "job.phase_changed")]
    assert told == ["loading", "training", "evaluating", "exporting"]


def test_a_step_counts_is_drawn_and_is_told() -> None:
    claim = lives.training()
    job = lives.told(claim, step(1), step(2))
    assert (job.step, job.reward_queries, job.evaluation_queries) == (2, 16, 4)
    assert job.gpu_seconds == 4
    assert job.latest_metrics is not None
    assert job.latest_metrics["reward"] == pytest.approx(0.02)
    drawn = points(claim, "reward", "reward.tiny-action@1")
    assert [(point.key, point.step, point.value) for point in drawn] == [
        ("reward", 1, pytest.approx(0.01)),
        ("reward", 2, pytest.approx(0.02)),
        ("reward.tiny-action@1", 1, pytest.approx(0.01)),
        ("reward.tiny-action@1", 2, pytest.approx(0.02)),
    ]
    last = drawn[1]
    assert (last.reward_queries, last.gpu_seconds, last.wall_s) == (16, 4, 4)
    told = history(claim, "job.metric")
    assert [(event.step, event.attempt) for event in told] == [(1, 1), (2, 1)]


def test_the_denoisers_work_and_the_methods_own_figures_are_drawn() -> None:
    claim = lives.training()
    lives.told(claim, step(1, figures={"clip_fraction": 0.25}), step(2))
    drawn = points(claim, "denoiser_forwards", "method.clip_fraction")
    assert [(point.key, point.step, point.value) for point in drawn] == [
        ("denoiser_forwards", 1, 72.0),
        ("denoiser_forwards", 2, 144.0),
        ("method.clip_fraction", 1, 0.25),
    ]


def test_a_batch_that_is_sent_twice_counts_once() -> None:
    claim = lives.training()
    lives.told(claim, step(1), step(2))
    lives.told(claim, step(1), step(2), step(3))
    assert [event.step for event in history(claim, "job.metric")] == [1, 2, 3]


def test_counters_never_fall_when_an_attempt_starts_from_an_older_checkpoint() -> None:
    first = lives.training()
    lives.told(first, *(step(number) for number in range(1, 11)))
    with db.transaction() as session:
        lives.claims.release(session, job_id=first.job_id, attempt=1, reason="drained")
    second = lives.claimed()
    assert (second.spent_reward_queries, second.spent_evaluation_queries) == (80, 4)
    again = step(6, gpu_seconds=22.0, reward=0.5, repeated=lines.Repeated(reward_queries=40))
    job = lives.told(second, started(resumed_from=5), again)
    assert (job.step, job.reward_queries, job.gpu_seconds) == (6, 88, 22)
    rewards = {point.step: point for point in points(second, "reward")}
    assert sorted(rewards) == list(range(1, 7))
    assert (rewards[6].value, rewards[6].attempt) == (0.5, 2)
    # The axis has what led to the point, the counter what was spent.
    assert [rewards[number].reward_queries for number in (5, 6)] == [40, 48]
    assert rewards[6].wall_s == pytest.approx(job.wall_clock_s + 12)


def test_an_evaluation_is_kept_drawn_and_told() -> None:
    claim = lives.training()
    lives.told(claim, evaluation(kind="base", step=0, reward=0.5))
    job = lives.told(claim, evaluation(reward=0.6))
    assert job.evaluation is not None
    assert (job.evaluation["verdict"], job.evaluation_queries) == ("improved", 8)
    with db.read() as session:
        kept = artifacts.evaluations(session, job_id=claim.job_id)
    assert [(row.kind, row.heldout_reward) for row in kept] == [("base", 0.5), ("final", 0.6)]
    drawn = points(claim, "heldout_reward", "heldout_delta")
    assert [(p.key, p.step, p.value) for p in drawn] == [
        ("heldout_delta", 20, pytest.approx(0.1)),
        ("heldout_reward", 0, 0.5),
        ("heldout_reward", 20, 0.6),
    ]
    assert [event.message for event in history(claim, "job.evaluation_done")] == [
        "Held-out reward 0.5000 over 4 pairs.",
        "Held-out reward 0.6000 over 4 pairs. About 14 pairs for an interval of +-0.0500.",
    ]


def test_an_evaluation_that_is_sent_twice_is_kept_once() -> None:
    claim = lives.training()
    lives.told(claim, evaluation())
    lives.told(claim, evaluation(reward=0.7))
    with db.read() as session:
        kept = artifacts.evaluations(session, job_id=claim.job_id)
    assert [row.heldout_reward for row in kept] == [0.7]


def test_a_restored_adapter_leaves_the_points_of_the_one_that_was_left() -> None:
    claim = lives.training()
    lives.told(claim, evaluation(kind="periodic", reward=0.55))
    restored = evaluation(reward=0.7).model_copy(update={"adapter_step": 10})
    job = lives.told(claim, restored)
    assert job.evaluation is not None
    assert job.evaluation["adapter_step"] == 10
    drawn = points(claim, "heldout_reward")
    assert [(p.step, p.value) for p in drawn] == [(20, 0.55)]


def test_a_warning_is_told_and_files_wait_for_their_upload() -> None:
    claim = lives.training()
    before = lives.now(claim.job_id).last_seq
    lives.told(claim, warned(), sample(), trainer_lines.sheet(), trainer_lines.checkpoint(1))
    assert [event.data for event in history(claim, "job.warning")] == [
        {"code": "checkpoint_corrupt"}
    ]
    assert lives.now(claim.job_id).last_seq == before + 1


def test_eighty_percent_of_a_ceiling_is_told_once() -> None:
    budget = {"max_steps": 10, "max_gpu_seconds": 20, "max_reward_queries": 1000}
    claim = lives.training(budget=budget)
    lives.told(claim, *(step(number) for number in range(1, 8)))
    assert history(claim, "job.budget_warning") == []
    lives.told(claim, step(8))
    lives.told(claim, step(9))
    warning = history(claim, "job.budget_warning")
    told = {"ceiling": "max_gpu_seconds", "limit": 20, "used": 16, "fraction": 0.8}
    assert [event.data for event in warning] == [{**told, "expected_steps_at_stop": 10}]
    assert warning[0].level == "warning"
    assert "max_steps is expected to come before it" in warning[0].message


def test_a_warning_says_where_the_ceiling_will_end_it() -> None:
    claim = lives.training(budget={"max_steps": 20, "max_reward_queries": 100})
    lives.told(claim, *(step(number) for number in range(1, 11)))
    (warning,) = history(claim, "job.budget_warning")
    assert warning.data["expected_steps_at_stop"] == 12
    assert warning.message == (
        "80% of max_reward_queries is used; expected to end there in 5s, 8 steps short of max_steps."
    )


def test_a_job_being_cancelled_still_counts_what_is_spent() -> None:
    claim = lives.training()
    lives.cancel(claim.job_id)
    job = lives.told(claim, step(1), phase("exporting"), done(step=1, stop_reason="cancelled"))
    assert (job.status, job.gpu_seconds) == ("cancelling", 5)
    assert lives.ended(claim, Status.CANCELLED).gpu_seconds == 5


def test_every_write_changes_the_version() -> None:
    claim = lives.training()
    versions = [lives.now(claim.job_id).version]
    versions.append(lives.told(claim, step(1)).version)
    lives.checkpointed(claim)
    versions.append(lives.now(claim.job_id).version)
    assert versions == sorted(set(versions))
    assert lives.now(claim.job_id).updated_at >= lives.now(claim.job_id).created_at
    assert timedelta(0) <= lives.now(claim.job_id).updated_at - lives.now(claim.job_id).queued_at


def test_every_guard_that_does_not_hold_is_warned_of() -> None:
    claim = lives.training()
    guards = [
        lines.GuardResult(reward=reward, base=0.5, adapter=adapter, ok=ok)
        for reward, adapter, ok in (("still@1", 0.5, True), ("sharp@1", 0.1, False))
    ]
    lives.told(claim, evaluation().model_copy(update={"guards": guards}))
    [told] = history(claim, "job.guard_warning")
    assert (told.level, told.step, told.data["reward"]) == ("warning", 20, "sharp@1")
