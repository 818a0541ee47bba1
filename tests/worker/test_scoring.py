"""An attempt at a scoring against a real Postgres, a real store and real processes."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import text

from domain import db, queue, scorings
from domain.scoring_table import Scoring
from domain.scorings import TASKS, Asked
from domain.settings import Settings, get_settings
from domain.store import open_store
from tests import scoring_lives
from tests.vader_core.small_videos import BLUE, RED, frames_of, write
from tests.worker.bench import Bench
from tests.worker.conftest import ROOT, set_short_times
from tests.worker.waiting import wait_until
from vader_core import rewards
from vader_core.catalogue import BUILT_IN
from vader_core.devices import Compute
from vader_core.spec import Prompt, RewardTerm
from worker import orphans
from worker.attempt import Surroundings
from worker.scoring import work_of
from worker.short_attempt import ShortAttempt
from worker.short_duty import ShortDuty

STAND_IN = Path(__file__).with_name("stand_in_scorer.py")
VIDEO = b"not looked at"


class ScoringBench(Bench):
    """A project and a scorer that makes one attempt at a time."""

    def ask(self, *videos: bytes, **params: str) -> Scoring:
        """A queued scoring of uploads with these bytes."""
        asked = Asked(
            reward=scoring_lives.REWARD,
            params=dict(params),
            videos=[self.video(data) for data in videos or [VIDEO]],
        )
        with db.transaction() as session:
            return scorings.create(
                session, asked, project_id=self.project_id, created_by_key_id=None, trace_id=""
            )

    def video(self, data: bytes, prompt: str = "a red square") -> dict[str, Any]:
        name = self.upload(data, "video/mp4")
        sha256 = hashlib.sha256(data).hexdigest()
        return scoring_lives.video(upload=name, key=f"uploads/{name}", sha256=sha256, prompt=prompt)

    def attempt_at(self, claim: Scoring) -> Scoring:
        """The row after one attempt."""
        around = Surroundings(settings=self.settings, store=self.store, drain=self.drain)
        work = partial(work_of, settings=self.settings)
        ShortAttempt(TASKS, claim, work, around, held_since=time.monotonic()).run()
        marked = [pid for pid, mark in orphans.marked() if mark.job_id == str(claim.id)]
        assert not marked
        assert not list((self.settings.work_dir / "attempts").glob("*"))
        return scoring_lives.now(claim.id)

    def score(self, *videos: bytes, **params: str) -> Scoring:
        """The row after the first attempt at a fresh scoring."""
        self.ask(*videos, **params)
        return self.attempt_at(scoring_lives.claimed())


@pytest.fixture
def bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ScoringBench:
    command = json.dumps([sys.executable, str(STAND_IN)])
    set_short_times(monkeypatch, trainer_command=command)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    return ScoringBench(get_settings(), open_store(get_settings()))


def duty() -> ShortDuty[Scoring]:
    return ShortDuty(TASKS, work_of, kind="scoring", ring=queue.ring_scorer)


def error_of(row: Scoring) -> dict[str, Any]:
    assert row.error is not None
    return row.error


def while_hanging(row: Scoring, act: Callable[[], None]) -> threading.Thread:
    """Does `act` once the scorer's process tree is up."""

    def wait_and_act() -> None:
        wait_until(
            lambda: sum(mark.job_id == str(row.id) for _, mark in orphans.marked()) >= 3,
            within_s=60,
        )
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_a_tiny_reward_gives_the_librarys_scores_through_the_whole_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_short_times(monkeypatch, score_threads=1)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    bench = ScoringBench(get_settings(), open_store(get_settings()))
    drawn = [frames_of(RED), frames_of(BLUE)]
    files = [write(tmp_path / f"{i}.mp4", frames) for i, frames in enumerate(drawn)]
    row = bench.ask(*(path.read_bytes() for path in files), b"no video at all")
    duty().work_until_idle("")
    ended = scoring_lives.now(row.id)
    assert (ended.status, ended.error) == ("succeeded", None)
    assert ended.result is not None
    term = RewardTerm(reward="tiny-text-match")
    compute = Compute(torch.device("cpu"), torch.float32)
    reward = rewards.load(term, BUILT_IN.rewards["tiny-text-match"], compute)
    with torch.no_grad():
        wanted = reward.score(torch.stack(drawn), [Prompt(prompt="a red square")] * 2).tolist()
    found = ended.result["scores"]
    assert [one["score"] for one in found[:2]] == pytest.approx(wanted, abs=0.02)
    assert (found[2]["score"], found[2]["reason"]["code"]) == (None, "unreadable")
    assert ended.result["seconds"] > 0


def test_the_videos_reach_the_scorer_in_their_order(bench: ScoringBench) -> None:
    row = bench.score(b"one", b"three", b"eleven")
    assert row.result is not None
    assert [one["score"] for one in row.result["scores"]] == [3.0, 5.0, 6.0]
    assert row.owner is None


@pytest.mark.parametrize("do", ["crash:70", "crash:0", "too_few"])
def test_a_scorer_that_gives_no_scores_is_tried_once_more(bench: ScoringBench, do: str) -> None:
    assert bench.score(do=do).status == "queued"
    row = bench.attempt_at(scoring_lives.claimed())
    assert (row.status, error_of(row)["code"]) == ("failed", "scorer_crashed")


def test_a_second_attempt_can_succeed(bench: ScoringBench) -> None:
    row = bench.ask(do="crash_once")
    duty().work_until_idle(str(row.id))
    ended = scoring_lives.now(row.id)
    assert (ended.status, ended.attempt) == ("succeeded", 2)


@pytest.mark.parametrize(("do", "code"), [("error", "bad"), ("kill", "host_out_of_memory")])
def test_what_another_attempt_cannot_mend_fails_at_once(
    bench: ScoringBench, do: str, code: str
) -> None:
    row = bench.score(do=do)
    assert (row.status, error_of(row)["code"], row.attempt) == ("failed", code, 1)


def test_a_video_that_is_gone_fails_the_scoring(bench: ScoringBench) -> None:
    row = bench.ask()
    bench.store.delete(row.videos[0]["key"])
    row = bench.attempt_at(scoring_lives.claimed())
    assert (row.status, error_of(row)["code"]) == ("failed", "file_lost")


def test_a_fault_of_the_worker_itself_is_told_and_tried_once_more(bench: ScoringBench) -> None:
    row = bench.ask()
    with db.transaction() as session:
        session.execute(text("UPDATE scorings SET videos = '[{}]'"))
    assert bench.attempt_at(scoring_lives.claimed()).status == "queued"
    row = bench.attempt_at(scoring_lives.claimed())
    assert (row.status, error_of(row)["code"]) == ("failed", "internal")


def test_a_scorer_that_takes_too_long_is_killed_with_its_tree(
    bench: ScoringBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(
        monkeypatch, score_limit_s=2, trainer_command=json.dumps([sys.executable, str(STAND_IN)])
    )
    get_settings.cache_clear()
    bench.settings = get_settings()
    row = bench.score(do="hang")
    assert (row.status, error_of(row)["code"]) == ("failed", "time_limit")


def test_an_attempt_that_lost_its_lease_ends_and_writes_nothing(bench: ScoringBench) -> None:
    row = bench.ask(do="hang")

    def lose() -> None:
        with db.transaction() as session:
            session.execute(
                text(
                    "UPDATE scorings SET attempt = 7, status = 'queued', owner = NULL, lease_until = NULL"
                )
            )

    thread = while_hanging(row, lose)
    after = bench.attempt_at(scoring_lives.claimed())
    thread.join()
    assert (after.status, after.attempt, after.error) == ("queued", 7, None)


def test_a_worker_that_must_end_gives_the_scoring_back(
    bench: ScoringBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settings = bench.settings.model_copy(update={"drain_grace_s": 0.2})
    row = bench.ask(do="hang")
    thread = while_hanging(row, bench.drain.set)
    after = bench.attempt_at(scoring_lives.claimed())
    thread.join()
    assert (after.status, after.attempt) == ("queued", 1)


def test_a_heartbeat_keeps_a_scoring_that_takes_long(bench: ScoringBench) -> None:
    row = bench.ask(do="hang")
    first: list[Any] = []

    def watch() -> None:
        first.append(scoring_lives.now(row.id).lease_until)
        wait_until(lambda: scoring_lives.now(row.id).lease_until > first[0], within_s=30)
        bench.drain.set()

    bench.settings = bench.settings.model_copy(update={"drain_grace_s": 0.1})
    thread = while_hanging(row, watch)
    bench.attempt_at(scoring_lives.claimed())
    thread.join()
    assert first


def test_a_scorer_that_is_to_end_claims_nothing(bench: ScoringBench) -> None:
    row = bench.ask()
    ending = duty()
    ending.end()
    ending.work_until_idle("")
    assert scoring_lives.now(row.id).status == "queued"
