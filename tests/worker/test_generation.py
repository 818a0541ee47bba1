"""An attempt at a generation against a real Postgres, a real store and real processes."""

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

from domain import artifacts, db, generations, queue
from domain.callers import Origin
from domain.generation_table import Generation
from domain.generations import TASKS, Asked
from domain.ids import to_public
from domain.settings import Settings, get_settings
from domain.store import open_store
from domain.tables import Adapter
from tests import factories, generation_lives
from tests.worker.bench import Bench
from tests.worker.conftest import ROOT, set_short_times
from tests.worker.waiting import wait_until
from vader_core.catalogue import BUILT_IN
from vader_core.generation_faults import check
from worker import orphans
from worker.attempt import Surroundings
from worker.generation import work_of
from worker.short_attempt import ShortAttempt
from worker.short_duty import ShortDuty

STAND_IN = Path(__file__).with_name("stand_in_generator.py")


class GenerationBench(Bench):
    """A project and a generator that makes one attempt at a time."""

    def ask(self, prompt: str, adapter: Adapter | None = None, **changes: Any) -> Generation:
        """A queued generation, by the tiny base model alone unless an adapter is given."""
        document = {"base_model": "tiny-unet", "prompt": prompt, **changes}
        if adapter is not None:
            document["adapter"] = to_public("ad", adapter.id)
        with db.transaction() as session:
            origin = partial(generations.origin_of, session)
            spec = check(document, BUILT_IN, lambda _: None if adapter is None else origin(adapter))
            inputs = generations.inputs_of(adapter, None)
            asked = Asked(spec, None if adapter is None else adapter.id, inputs)
            who = Origin(project_id=self.project_id, trace_id="")
            return generations.create(session, asked, origin=who)

    def attempt_at(self, claim: Generation) -> Generation:
        """The row after one attempt."""
        around = Surroundings(settings=self.settings, store=self.store, drain=self.drain)
        work = partial(work_of, settings=self.settings)
        ShortAttempt(TASKS, claim, work, around, held_since=time.monotonic()).run()
        assert not [pid for pid, mark in orphans.marked() if mark.job_id == str(claim.id)]
        assert not list((self.settings.work_dir / "attempts").glob("*"))
        return generation_lives.now(claim.id)

    def stored(self, row: Generation) -> dict[str, bytes]:
        """What lies in the store of all attempts, by name."""
        found = {}
        for key in self.store.list(generations.attempts_prefix(row.id)):
            with self.store.open(key) as stream:
                found[key.rpartition("/")[2]] = stream.read()
        return found


@pytest.fixture
def bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> GenerationBench:
    command = json.dumps([sys.executable, str(STAND_IN)])
    set_short_times(monkeypatch, trainer_command=command)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    return GenerationBench(get_settings(), open_store(get_settings()))


@pytest.fixture
def real(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> GenerationBench:
    """With the real trainer and generator."""
    set_short_times(monkeypatch, trainer_threads=1, generate_threads=1, device="cpu")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    return GenerationBench(get_settings(), open_store(get_settings()))


def error_of(row: Generation) -> dict[str, Any]:
    assert row.error is not None
    return row.error


def while_hanging(row: Generation, act: Callable[[], object]) -> threading.Thread:
    """Does `act` once the generator's process tree is up."""

    def wait_and_act() -> None:
        wait_until(
            lambda: sum(mark.job_id == str(row.id) for _, mark in orphans.marked()) >= 3,
            within_s=60,
        )
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_the_adapter_of_a_trained_job_makes_videos_through_the_whole_worker(
    real: GenerationBench,
) -> None:
    small = {"width": 16, "height": 16, "num_frames": 4, "inference_steps": 2}
    spec = factories.spec(
        video=small,
        budget={"max_steps": 1},
        method={"type": "reward_gradient", "learning_rate": 0.05},
        guards=[],
        evaluation={"seeds": [11], "samples_to_keep": 1},
    )
    job_id = real.submit(**spec.model_dump(mode="json"))
    real.attempt()
    assert real.job(job_id).status == "succeeded", real.job(job_id).error
    adapter = real.adapter(job_id)
    with db.read() as session:
        samples = {one.role: one for one in artifacts.samples(session, job_id=job_id)}
    prompt = samples["base"].prompt
    asked = {"adapter": adapter, "video": small, "seeds": [11], "compare_with_base": True}
    both = real.ask(prompt, **asked, score_with=["tiny-text-match"])
    off = real.ask(prompt, **asked, adapter_scale=0)
    duty = ShortDuty(TASKS, work_of, kind="generation", ring=queue.ring_generator)
    duty.work_until_idle("")
    for row in (both, off):
        ended = generation_lives.now(row.id)
        assert (ended.status, ended.error) == ("succeeded", None)
        assert ended.result is not None
        found = real.stored(row)
        assert set(found) == {"base-s11.mp4", "adapter-s11.mp4", "sheet.png"}
        assert ended.size_bytes == sum(len(data) for data in found.values())
        for video in ended.result["videos"]:
            data = found[video["file"]["path"]]
            assert hashlib.sha256(data).hexdigest() == video["file"]["sha256"]
        assert ended.gpu_seconds > 0
    changed, unchanged = real.stored(both), real.stored(off)
    assert changed["base-s11.mp4"] != changed["adapter-s11.mp4"]
    assert unchanged["base-s11.mp4"] == unchanged["adapter-s11.mp4"] == changed["base-s11.mp4"]
    # The same seed shows what the evaluation showed, byte for byte.
    for role, sample in samples.items():
        assert hashlib.sha256(changed[f"{role}-s11.mp4"]).hexdigest() == sample.sha256


def test_every_video_is_stored_under_its_attempt(bench: GenerationBench) -> None:
    bench.ask("x", seeds=[1, 2])
    row = bench.attempt_at(generation_lives.claimed())
    assert (row.status, row.owner) == ("succeeded", None)
    prefix = generations.attempt_prefix(row.id, 1)
    keys = list(bench.store.list(generations.attempts_prefix(row.id)))
    assert keys == [f"{prefix}/base-s1.mp4", f"{prefix}/base-s2.mp4"]


@pytest.mark.parametrize("prompt", ["crash", "too_few"])
def test_a_generator_that_gives_no_result_is_tried_once_more(
    bench: GenerationBench, prompt: str
) -> None:
    bench.ask(prompt)
    assert bench.attempt_at(generation_lives.claimed()).status == "queued"
    row = bench.attempt_at(generation_lives.claimed())
    assert (row.status, error_of(row)["code"]) == ("failed", "generator_crashed")
    assert bench.stored(row) == {}


def test_bytes_that_are_not_as_announced_are_not_shown(bench: GenerationBench) -> None:
    bench.ask("wrong_hash")
    row = bench.attempt_at(generation_lives.claimed())
    assert (row.status, error_of(row)["code"], row.result) == ("failed", "file_lost", None)
    assert bench.stored(row) == {}


def test_one_that_takes_too_long_is_killed_with_its_tree(bench: GenerationBench) -> None:
    bench.settings = bench.settings.model_copy(update={"generate_limit_s": 2})
    bench.ask("hang")
    row = bench.attempt_at(generation_lives.claimed())
    assert (row.status, error_of(row)["code"]) == ("failed", "time_limit")


def test_a_cancelled_one_stops_within_a_heartbeat(bench: GenerationBench) -> None:
    row = bench.ask("hang")

    def cancel() -> None:
        with db.transaction() as session:
            generations.cancel(session, project_id=row.project_id, generation_id=row.id)

    thread = while_hanging(row, cancel)
    after = bench.attempt_at(generation_lives.claimed())
    thread.join()
    assert (after.status, after.result, after.error) == ("cancelled", None, None)
    assert after.gpu_seconds > 0


def test_one_that_is_cancelled_at_the_last_moment_leaves_no_files(
    bench: GenerationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bench.ask("x")
    claim = generation_lives.claimed()
    put_file = bench.store.put_file

    def put_and_cancel(*words: Any, **options: Any) -> None:
        put_file(*words, **options)
        with db.transaction() as session:
            generations.cancel(session, project_id=row.project_id, generation_id=row.id)

    monkeypatch.setattr(bench.store, "put_file", put_and_cancel)
    assert bench.attempt_at(claim).status == "cancelled"
    assert bench.stored(row) == {}


def test_an_adapter_whose_files_are_gone_fails_the_generation(bench: GenerationBench) -> None:
    row = bench.ask("x")
    lost = {"path": "adapter/adapter_config.json", "key": "nowhere/x", "sha256": "0" * 64}
    with db.transaction() as session:
        session.get_one(Generation, row.id).inputs = [lost]
    ended = bench.attempt_at(generation_lives.claimed())
    assert (ended.status, error_of(ended)["code"]) == ("failed", "file_lost")
