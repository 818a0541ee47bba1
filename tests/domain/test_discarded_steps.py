"""An attempt that goes on from an older step takes back what the job showed beyond it."""

from __future__ import annotations

import pytest

from domain import artifacts, claims, db, events, metrics
from domain.claims import Claim
from tests import lives
from tests.trainer_lines import evaluation, sample, sheet, started, step

pytestmark = pytest.mark.usefixtures("settings")


def reached_8() -> Claim:
    """A job with two evaluations and a sample of each that has lost its worker at step 8."""
    claim = lives.training()
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    lives.told(claim, evaluation(kind="base", step=0, reward=0.5))
    for number in range(1, 9):
        lives.told(claim, step(number))
        if number in (4, 8):
            lives.told(claim, evaluation(kind="periodic", step=number, reward=0.5 + number / 100))
            with db.transaction() as session:
                line = sample(step=number)
                artifacts.add_sample(session, **holder, line=line, key=f"key-{number}")
                artifacts.add_sheet(session, **holder, line=sheet(), key="sheet")
    with db.transaction() as session:
        claims.release(session, **holder, reason="drained")
    return lives.claimed()


def steps(claim: Claim) -> dict[str, list[int]]:
    with db.read() as session:
        points = metrics.series(session, job_id=claim.job_id, keys=["reward"])
        return {
            "points": [point.step for point in points],
            "evaluations": [
                row.step for row in artifacts.evaluations(session, job_id=claim.job_id)
            ],
            "samples": [row.step for row in artifacts.samples(session, job_id=claim.job_id)],
        }


def test_steps_that_the_adapter_never_had_are_shown_no_longer() -> None:
    claim = reached_8()
    job = lives.told(claim, started(resumed_from=5))
    assert steps(claim) == {"points": [1, 2, 3, 4, 5], "evaluations": [0, 4], "samples": [4]}
    assert job.step == 5
    assert job.latest_metrics is not None
    assert job.latest_metrics["step"] == 5
    assert job.evaluation is not None
    assert (job.evaluation["step"], job.evaluation["heldout_reward"]) == (4, 0.54)
    assert "scores" not in job.evaluation
    assert job.best_evaluation == {"heldout_reward": 0.54, "step": 4}
    assert job.sheet is None
    assert job.reward_queries == 64
    assert lives.patched(job.id, budget={"max_steps": 6}).steps_total == 6


def test_one_that_begins_anew_keeps_only_what_was_before_the_first_step() -> None:
    claim = reached_8()
    job = lives.told(claim, started())
    assert steps(claim) == {"points": [], "evaluations": [0], "samples": []}
    assert (job.step, job.latest_metrics, job.best_evaluation) == (0, None, None)


def test_one_that_goes_on_from_the_newest_step_takes_nothing_back() -> None:
    claim = reached_8()
    before = steps(claim)
    job = lives.told(claim, started(resumed_from=8))
    assert steps(claim) == before
    assert (job.step, job.sheet is not None) == (8, True)


def test_a_first_line_that_is_sent_twice_takes_nothing_back_the_second_time() -> None:
    claim = reached_8()
    lives.told(claim, started(resumed_from=5), step(6))
    lives.told(claim, started(resumed_from=5), step(6), step(7))
    assert steps(claim)["points"] == [1, 2, 3, 4, 5, 6, 7]


def test_events_stay_as_they_were_told() -> None:
    claim = reached_8()
    lives.told(claim, started())
    with db.read() as session:
        told = events.list_after(session, job_id=claim.job_id, types=["job.metric"])
    assert [event.step for event in told] == list(range(1, 9))
