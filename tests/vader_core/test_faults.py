"""What can go wrong in a run: one typed line with a hint, an exit status, the last checkpoint."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.vader_core.rewards import black_box
from tests.vader_core.trainer import Trainer, of_type, write_spec
from vader_core import lines
from vader_core.catalogue import BUILT_IN, Weights
from vader_core.lines import AnyLine, parse
from vader_core.rewards import http_endpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path)


def failure(seen: list[AnyLine]) -> lines.Failed:
    """The one error line, which is the last."""
    assert len(of_type(seen, lines.Failed)) == 1
    failed = seen[-1]
    assert isinstance(failed, lines.Failed)
    assert failed.hint
    return failed


def catalogue_with(folder: Path, **rows: Any) -> list[str]:
    path = folder / "catalogue.json"
    path.write_text(
        json.dumps({k: [r.model_dump(mode="json") for r in v] for k, v in rows.items()})
    )
    return ["--catalogue", str(path)]


def test_a_spec_is_told_all_of_its_faults_before_torch_is_loaded(tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path, base_model="tiny-unett", budget={"max_steps": 0}, video={"width": 33}, colour=1
    )
    code = (
        "import sys; from vader_core.__main__ import main; "
        f"status = main(['train', {str(spec)!r}, '--out', {str(tmp_path / 'out')!r}]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ended.returncode == 2, ended.stderr
    failed = failure([parse(text) for text in ended.stdout.splitlines()])
    assert (failed.code, failed.fault, failed.retryable) == ("spec_unusable", "user", False)
    for pointer in ("/base_model", "/budget/max_steps", "/colour"):
        assert pointer in failed.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [None, "{", "\xff"])
def test_a_spec_that_cannot_be_read_is_told(trainer: Trainer, text: str | None) -> None:
    path = trainer.folder / "job.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    status, seen = trainer.run(path)
    assert (status, failure(seen).code) == (2, "spec_unusable")


def test_weights_that_are_missing_are_named(trainer: Trainer) -> None:
    row = BUILT_IN.base_models["tiny-unet"].model_copy(
        update={"id": "lost", "weights": Weights(folder=trainer.folder / "gone")}
    )
    options = catalogue_with(trainer.folder, base_models=[row])
    status, seen = trainer(*options, base_model="lost")
    failed = failure(seen)
    assert (status, failed.code, failed.last_checkpoint) == (10, "weights_unreadable", None)
    assert "/base_model: The weights of the base model lost are not installed" in failed.message


def test_a_reward_that_is_not_finite_ends_the_run(trainer: Trainer) -> None:
    row = BUILT_IN.rewards["tiny-action"]
    assert row.folder is not None
    folder = trainer.folder / "broken"
    shutil.copytree(row.folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    broken = row.model_copy(update={"id": "broken", "weights": Weights(folder=folder)})
    options = catalogue_with(trainer.folder, rewards=[broken])
    status, seen = trainer(*options, rewards=[{"reward": "broken"}])
    failed = failure(seen)
    assert (status, failed.code, failed.step) == (12, "reward_not_finite", 0)
    assert "broken" in failed.message


def test_a_gradient_that_is_not_finite_ends_the_run_with_its_last_step_saved(
    trainer: Trainer,
) -> None:
    """The weighted scores are still numbers, the squares of their gradients no longer."""
    status, seen = trainer(rewards=[{"reward": "tiny-action", "weight": 1e37}])
    failed = failure(seen)
    assert (status, failed.code, failed.step) == (13, "gradient_not_finite", 0)
    assert failed.last_checkpoint == "checkpoints/step-000000"


def test_a_run_that_learning_breaks_keeps_its_last_finished_step(trainer: Trainer) -> None:
    status, seen = trainer(method={"learning_rate": 1e30})
    failed = failure(seen)
    assert (status, failed.code, failed.step) == (12, "reward_not_finite", 1)
    assert failed.last_checkpoint == "checkpoints/step-000001"


@contextmanager
def little_memory(megabytes: int) -> Iterator[None]:
    """Inside, this process gets so much more than it has, and then no more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    allowed = psutil.Process().memory_info().vms + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_host_out_of_memory_is_told_what_to_lower(trainer: Trainer) -> None:
    large = {"width": 64, "height": 64, "num_frames": 24, "inference_steps": 1}
    evaluation = {"num_prompts": 1, "seeds": list(range(64))}
    with little_memory(256):
        status, seen = trainer(method={"batch_size": 64}, video=large, evaluation=evaluation)
    failed = failure(seen)
    assert (status, failed.code, failed.retryable) == (20, "host_out_of_memory", True)
    assert "batch_size" in failed.hint


def test_a_storage_that_takes_no_more_is_told(trainer: Trainer) -> None:
    """A limit on file sizes stands for a full disk: the same call fails, at the checkpoint."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    try:
        status, seen = trainer()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    failed = failure(seen)
    assert (status, failed.code, failed.retryable) == (16, "storage_failed", True)
    assert (failed.step, failed.last_checkpoint) == (2, None)


def test_an_endpoint_that_does_not_answer_is_told(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard that nobody serves; a new attempt may find it up again."""
    monkeypatch.setattr(http_endpoint, "PAUSES_S", (0.0, 0.0))
    row = black_box.row("http", options={"url": "http://127.0.0.1:1/score"})
    options = catalogue_with(trainer.folder, rewards=[row])
    status, seen = trainer(*options, guards=[{"reward": "ours"}])
    failed = failure(seen)
    assert (status, failed.code, failed.retryable) == (17, "reward_backend_failed", True)
    assert "127.0.0.1:1" in failed.message


def test_what_nobody_foresaw_is_a_line_too(trainer: Trainer) -> None:
    """A folder where the sheet's file should go."""
    (trainer.out / "sheet.png").mkdir(parents=True)
    status, seen = trainer(budget={"max_steps": 1})
    failed = failure(seen)
    assert (status, failed.code, failed.fault) == (70, "internal", "platform")
    assert failed.message.startswith("IsADirectoryError")
    assert failed.last_checkpoint == "checkpoints/step-000001"
