"""A worker that is killed or asked to go loses at most what came after the last checkpoint.

Numbered as in the list of scenarios that the service must survive.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from domain import artifacts, db, metrics
from domain.settings import Settings, get_settings
from domain.store import open_store
from tests import factories
from tests.scenarios.stack import END_S, Stack
from tests.worker.conftest import ROOT
from tests.worker.waiting import wait_until
from worker import orphans

TRAINER = [sys.executable, "-m", "vader_core"]
SMALL_REAL_JOB = {
    "budget": {"max_steps": 6},
    "video": {"inference_steps": 2},
    "method": {"gradient_accumulation": 1, "learning_rate": 1e-3},
    "checkpoints": {"every_steps": 1},
    "evaluation": {"num_prompts": 1, "seeds": [11, 12], "samples_to_keep": 1},
}


def tree_of(job_id: UUID) -> list[int]:
    return [process.pid for process, mark in orphans.marked() if mark.job_id == str(job_id)]


def published_weights(job_id: UUID, settings: Settings) -> bytes:
    with db.read() as session:
        adapter = artifacts.adapter_of(session, job_id=job_id)
    assert adapter is not None
    with open_store(settings).open(f"{adapter.prefix}/adapter_model.safetensors") as stream:
        return stream.read()


def sheet_sha256(stack: Stack, job_id: UUID) -> str:
    sheet = stack.job(job_id).sheet
    assert sheet is not None
    return str(sheet["sha256"])


def steps_told(job_id: UUID) -> list[int]:
    with db.read() as session:
        return [p.step for p in metrics.series(session, job_id=job_id, keys=["reward"])]


def has_checkpoint(job_id: UUID) -> bool:
    with db.read() as session:
        return bool(artifacts.checkpoints(session, job_id=job_id).items)


def undisturbed_run(folder: Path) -> Path:
    """The output folder of a trainer that was left alone, without a service."""
    spec, out = folder / "alone.json", folder / "alone"
    spec.write_text(json.dumps(factories.document(**SMALL_REAL_JOB)))
    command = [*TRAINER, "train", str(spec), "--out", str(out), "--threads", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=END_S, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return out


@pytest.fixture
def real_settings(worker_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("VADER_TRAINER_COMMAND", json.dumps(TRAINER))
    monkeypatch.setenv("VADER_TRAINER_THREADS", "1")
    monkeypatch.setenv("VADER_DEVICE", "cpu")
    get_settings.cache_clear()
    return get_settings()


def test_8_a_killed_worker_costs_nothing_of_the_result(
    real_settings: Settings, stack: Stack, tmp_path: Path
) -> None:
    alone = undisturbed_run(tmp_path)
    first = stack.worker()
    stack.sweeper()
    job_id = stack.submit(**SMALL_REAL_JOB)
    wait_until(lambda: has_checkpoint(job_id), within_s=END_S)
    assert tree_of(job_id)
    first.kill()
    wait_until(lambda: not tree_of(job_id), within_s=5)
    stack.worker(wait=False)
    stack.wait_for(job_id, "succeeded")
    weights = (alone / "adapter" / "adapter_model.safetensors").read_bytes()
    assert published_weights(job_id, real_settings) == weights
    assert (
        sheet_sha256(stack, job_id)
        == hashlib.sha256((alone / "sheet.png").read_bytes()).hexdigest()
    )
    lost, resumed = stack.attempts(job_id)
    assert (lost.outcome, resumed.outcome) == ("lost", "succeeded")
    assert resumed.resumed_from_step is not None
    assert resumed.resumed_from_step >= 1
    assert steps_told(job_id) == [1, 2, 3, 4, 5, 6]


def test_8_the_whole_process_tree_of_a_killed_worker_dies(stack: Stack) -> None:
    worker = stack.worker()
    job_id = stack.submit(budget={"max_steps": 1000}, labels={"grandchild": "yes"})
    wait_until(lambda: stack.job(job_id).step >= 2, within_s=END_S)
    assert len(tree_of(job_id)) == 3
    worker.kill()
    wait_until(lambda: not tree_of(job_id), within_s=5)


def test_23_a_worker_asked_to_go_hands_its_job_over(stack: Stack) -> None:
    first = stack.worker()
    job_id = stack.submit(
        budget={"max_steps": 60},
        checkpoints={"every_steps": 1000},
        labels={"step_s": "0.1"},
    )
    wait_until(lambda: stack.job(job_id).step >= 3, within_s=END_S)
    second = stack.worker()
    first.send_signal(signal.SIGTERM)
    assert first.wait(END_S) == 0
    assert second.poll() is None
    job = stack.wait_for(job_id, "succeeded")
    assert job.preemptions == 1
    released, resumed = stack.attempts(job_id)
    assert (released.outcome, resumed.outcome) == ("released", "succeeded")
    assert resumed.resumed_from_step is not None
    assert resumed.resumed_from_step >= 3
    assert steps_told(job_id) == list(range(1, 61))
