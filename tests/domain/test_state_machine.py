"""Random histories of several workers, clients and the sweeper, against the invariants of a job.

I2 every job can be brought to an end; I3 it ends once and then never changes; I4 attempts only grow, and
what an attempt without the lease writes is refused. What was spent never shrinks.
"""

from __future__ import annotations

import itertools
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import JsonValue
from sqlalchemy import text

from domain import claims, db, events, progress, sweep
from domain.claims import Claim
from domain.errors import CeilingReached, InvalidTransition, StaleAttempt
from domain.job_status import HELD, TERMINAL, TRANSITIONS, Status, allowed_actions
from tests import lives, trainer_lines

CLAIMS = st.integers(min_value=0, max_value=5)
TOLD = (
    *("starting", "running", "finalizing", "adapter", "succeeded", "failed", "released", "broken"),
    *("paused", "exhausted"),
)
COUNTERS = ("step", "reward_queries", "evaluation_queries", "gpu_seconds", "wall_clock_s")


class Histories(RuleBasedStateMachine):
    """One job; every claim anybody ever held on it stays in hand and may be used at any later time."""

    def __init__(self) -> None:
        super().__init__()
        with db.transaction() as session:
            session.execute(text("TRUNCATE jobs CASCADE"))
        self.job_id: UUID = lives.waiting().id
        self.claims: list[Claim] = []
        self.ended_as: tuple[str, str | None] | None = None
        self.spent = dict.fromkeys(COUNTERS, 0.0)

    @rule()
    def a_worker_claims(self) -> None:
        with db.transaction() as session:
            claim = claims.claim(session, worker=f"worker-{len(self.claims)}", hardware="cpu")
        if claim is not None:
            assert claim.attempt == len(self.claims) + 1
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(which=CLAIMS, what=st.sampled_from(TOLD))
    def a_worker_writes(self, which: int, what: str) -> None:
        claim = self.claims[which % len(self.claims)]
        before = lives.now(self.job_id)
        holds = before.attempt == claim.attempt and before.lease_until is not None
        try:
            self._write(claim, what)
        except StaleAttempt:
            assert not holds
            assert lives.now(self.job_id).version == before.version
        except InvalidTransition:
            assert holds
            assert lives.now(self.job_id).version == before.version
        else:
            assert holds

    def _write(self, claim: Claim, what: str) -> None:
        who = {"job_id": claim.job_id, "attempt": claim.attempt}
        if what == "adapter":
            lives.checkpointed(claim)
            return
        with db.transaction() as session:
            if what == "starting":
                claims.heartbeat(session, **who)
            elif what == "running":
                lines = [trainer_lines.started(), trainer_lines.step(1)]
                progress.record(session, **who, lines=lines)
            elif what == "finalizing":
                progress.record(session, **who, lines=[trainer_lines.done()])
            elif what == "succeeded":
                claims.finish(session, **who, to=Status.SUCCEEDED, stop_reason="deadline")
            elif what == "failed":
                claims.finish(session, **who, to=Status.FAILED, error=lives.BROKEN)
            elif what == "paused":
                claims.pause(session, **who, reason="requested")
            elif what == "exhausted":
                claims.pause(session, **who, reason="gpu_seconds")
            elif what == "released":
                claims.release(session, **who, reason="drained")
            else:
                claims.fail_attempt(session, **who, error=lives.BROKEN)

    @rule(keep=st.booleans())
    def somebody_cancels(self, keep: bool) -> None:
        if lives.now(self.job_id).status in {"succeeded", "failed"}:
            with pytest.raises(InvalidTransition):
                lives.cancel(self.job_id, keep_adapter=keep)
        else:
            assert lives.cancel(self.job_id, keep_adapter=keep).status.startswith("cancel")

    @rule()
    def somebody_pauses(self) -> None:
        before = lives.now(self.job_id)
        already = before.status in {"pausing", "paused"}
        if already or "pause" in allowed_actions(before.status):
            after = lives.asked_to_pause(self.job_id)
            assert after.status in {"pausing", "paused"}
            assert (after.version == before.version) == already
        else:
            with pytest.raises(InvalidTransition):
                lives.asked_to_pause(self.job_id)

    @rule()
    def somebody_resumes(self) -> None:
        before = lives.now(self.job_id)
        if before.status == "queued":
            assert lives.resumed(self.job_id).version == before.version
        elif before.status != "paused":
            with pytest.raises(InvalidTransition):
                lives.resumed(self.job_id)
        elif before.pause_reason == "gpu_seconds" and before.budget["on_exhausted"] == "pause":
            with pytest.raises(CeilingReached):
                lives.resumed(self.job_id)
        else:
            assert lives.resumed(self.job_id).status == "queued"

    @rule(
        limit=st.sampled_from([None, 50, 100, 1000]), exhausted=st.sampled_from(["pause", "finish"])
    )
    def somebody_changes_the_budget(self, limit: int | None, exhausted: str) -> None:
        before = lives.now(self.job_id)
        change: dict[str, JsonValue] = {"max_gpu_seconds": limit, "on_exhausted": exhausted}
        if "patch" in allowed_actions(before.status):
            after = lives.patched(self.job_id, budget=change)
            assert after.budget["max_gpu_seconds"] == limit
            assert after.revision - before.revision == (after.budget != before.budget)
        else:
            with pytest.raises(InvalidTransition):
                lives.patched(self.job_id, budget=change)

    @rule()
    def a_paused_job_expires_and_the_sweeper_comes(self) -> None:
        was_paused = lives.now(self.job_id).status == "paused"
        with db.transaction() as session:
            session.execute(
                text(
                    "UPDATE jobs SET paused_expires_at = clock_timestamp() WHERE status = 'paused'"
                )
            )
        assert sweep.run_once().ran
        if was_paused:
            assert lives.now(self.job_id).status in {"succeeded", "failed"}

    @rule()
    def the_lease_runs_out_and_the_sweeper_comes(self) -> None:
        with db.transaction() as session:
            session.execute(
                text(
                    "UPDATE jobs SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL"
                )
            )
        assert sweep.run_once().ran

    @invariant()
    def a_terminal_status_never_changes(self) -> None:
        job = lives.now(self.job_id)
        if self.ended_as is not None:
            assert (job.status, job.stop_reason) == self.ended_as
        if job.status in TERMINAL:
            self.ended_as = (job.status, job.stop_reason)
            assert job.finished_at is not None

    @invariant()
    def counters_only_grow(self) -> None:
        job = lives.now(self.job_id)
        now = {name: float(getattr(job, name)) for name in COUNTERS}
        assert all(now[name] >= self.spent[name] for name in COUNTERS)
        self.spent = now

    @invariant()
    def only_a_paused_job_says_why_it_is_paused(self) -> None:
        job = lives.now(self.job_id)
        if job.status == "paused":
            assert job.pause_reason is not None
            assert job.paused_expires_at is not None
        if job.status in {"queued", "starting", "running"}:
            assert (job.pause_reason, job.paused_expires_at) == (None, None)

    @invariant()
    def only_a_held_job_has_a_lease(self) -> None:
        job = lives.now(self.job_id)
        assert (job.lease_until is not None) == (job.status in HELD)
        assert job.attempt == len(self.claims)

    @invariant()
    def the_events_are_gapless_and_walk_the_published_table(self) -> None:
        with db.read() as session:
            history = events.list_after(session, job_id=self.job_id, limit=1000)
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
        attempts = [event.attempt for event in history]
        assert attempts == sorted(attempts)
        states = [Status(event.data["status"]) for event in history if "status" in event.data]
        assert all(b is a or b in TRANSITIONS[a] for a, b in itertools.pairwise(states))
        assert sum(state in TERMINAL for state in states) <= 1

    def teardown(self) -> None:
        """However it stands now, somebody can bring it to an end."""
        for _ in range(8):
            if lives.now(self.job_id).status in TERMINAL:
                break
            self.a_paused_job_expires_and_the_sweeper_comes()
            self.the_lease_runs_out_and_the_sweeper_comes()
            self.a_worker_claims()
        assert lives.now(self.job_id).status in TERMINAL


@pytest.mark.usefixtures("settings")
def test_any_history_of_a_job_keeps_its_invariants() -> None:
    Histories.TestCase.settings = settings(
        max_examples=10,
        stateful_step_count=12,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    Histories.TestCase("runTest").runTest()
