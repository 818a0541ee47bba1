"""Runs that start from what another left: an adapter's weights, or a whole state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.vader_core.trainer import Trainer, figures, of_type
from vader_core import lines

WEIGHTS = "adapter_model.safetensors"
SMALL: dict[str, Any] = {"evaluation": {"num_prompts": 1, "seeds": [1], "samples_to_keep": 0}}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run of two steps with a checkpoint of the second."""
    trainer = Trainer(tmp_path_factory.mktemp("parent"))
    status, seen = trainer(**SMALL, budget={"max_steps": 2})
    assert status == 0, seen[-1]
    return trainer


def checkpoint(parent: Trainer) -> Path:
    return parent.out / "checkpoints/step-000002"


def run(tmp_path: Path, *options: str, **changes: Any) -> tuple[Trainer, int, list[lines.AnyLine]]:
    folder = tmp_path / "child"
    folder.mkdir(exist_ok=True)
    trainer = Trainer(folder)
    status, seen = trainer(*options, **{**SMALL, **changes})
    return trainer, status, seen


def test_a_full_state_goes_on_as_if_the_run_had_never_ended(
    parent: Trainer, tmp_path: Path
) -> None:
    whole = Trainer(tmp_path)
    assert whole(**SMALL, budget={"max_steps": 4})[0] == 0
    start = str(checkpoint(parent))
    child, status, seen = run(tmp_path, "--init-checkpoint", start, budget={"max_steps": 4})
    assert status == 0, seen[-1]
    assert of_type(seen, lines.Started)[0].resumed_from == 2
    assert [line.step for line in of_type(seen, lines.Step)] == [3, 4]
    adapter = child.out / "adapter"
    assert (adapter / WEIGHTS).read_bytes() == (whole.out / "adapter" / WEIGHTS).read_bytes()
    assert figures(child.out / "metrics.jsonl") == figures(whole.out / "metrics.jsonl")
    lineage = json.loads((adapter / "lineage.json").read_text())
    assert lineage["started_from"] == {"name": "step-000002", "state": "full"}
    assert "started from | `step-000002`" in (adapter / "README.md").read_text()


def test_a_full_state_takes_another_learning_rate_and_a_run_of_it_can_be_resumed(
    parent: Trainer, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"method": {"learning_rate": 5e-4}}
    options = ("--init-checkpoint", str(checkpoint(parent)))
    _, status, seen = run(tmp_path, *options, budget={"max_steps": 3}, **changes)
    assert status == 0, seen[-1]
    assert of_type(seen, lines.Step)[0].learning_rate == 5e-4
    _, status, seen = run(tmp_path, "--resume", *options, budget={"max_steps": 4}, **changes)
    assert (status, [line.step for line in of_type(seen, lines.Step)]) == (0, [4])


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"rank": 3}},
        {"seed": 6},
        {"method": {"batch_size": 1}},
        {"evaluation": {"num_prompts": 2, "seeds": [1], "samples_to_keep": 0}},
        {"rewards": [{"reward": "tiny-text-match"}]},
    ],
)
def test_a_full_state_is_refused_where_it_does_not_fit(
    parent: Trainer, tmp_path: Path, changes: dict[str, Any]
) -> None:
    _, status, seen = run(tmp_path, "--init-checkpoint", str(checkpoint(parent)), **changes)
    failed = seen[-1]
    assert isinstance(failed, lines.Failed)
    assert (status, failed.code, failed.fault) == (2, "spec_unusable", "user")


def test_a_broken_state_is_refused(parent: Trainer, tmp_path: Path) -> None:
    broken = tmp_path / "step-000002"
    shutil.copytree(checkpoint(parent), broken)
    (broken / "optimizer.safetensors").write_bytes(b"?")
    _, status, seen = run(tmp_path, "--init-checkpoint", str(broken))
    failed = seen[-1]
    assert isinstance(failed, lines.Failed)
    assert (status, failed.code) == (18, "start_unusable")
    assert "optimizer.safetensors differs" in failed.message


def test_weights_begin_a_new_run(parent: Trainer, tmp_path: Path) -> None:
    """With a rate of next to nothing the weights stay: steps and counters begin anew."""
    for folder in (parent.out / "adapter", checkpoint(parent) / "adapter"):
        child, status, seen = run(
            tmp_path,
            *("--init-adapter", str(folder)),
            budget={"max_steps": 1},
            seed=99,
            method={"learning_rate": 1e-12, "weight_decay": 0.0},
        )
        assert status == 0, seen[-1]
        assert of_type(seen, lines.Started)[0].resumed_from is None
        assert [line.step for line in of_type(seen, lines.Step)] == [1]
        found = load_file(child.out / "adapter" / WEIGHTS)
        wanted = load_file(folder / WEIGHTS)
        assert all(found[name].allclose(wanted[name], atol=1e-9) for name in wanted)
        final = of_type(seen, lines.EvaluationDone)[-1]
        assert final.difference.delta != 0, "the base is the base model, not the start"
        shutil.rmtree(child.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": {"rank": 3}}, "r 2 where 3"),
        ({"adapter": {"alpha": 4.0}}, "lora_alpha 16.0 where 4.0"),
        ({"adapter": {"target_modules": ["to_q"]}}, "target_modules"),
        ({"base_model": "tiny-wan", "video": {}}, "base_model_name_or_path 'tiny-unet@1'"),
    ],
)
def test_weights_are_refused_where_they_do_not_fit(
    parent: Trainer, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    _, status, seen = run(tmp_path, "--init-adapter", str(parent.out / "adapter"), **changes)
    failed = seen[-1]
    assert isinstance(failed, lines.Failed)
    assert (status, failed.code, failed.fault, failed.retryable) == (
        *(18, "start_unusable", "user"),
        False,
    )
    assert message in failed.message


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    _, status, seen = run(tmp_path, "--init-adapter", str(tmp_path))
    assert (status, seen[-1].type) == (18, "error")


def test_a_start_that_the_spec_names_must_be_given(tmp_path: Path) -> None:
    _, status, seen = run(tmp_path, init_from={"adapter": "ad_somewhere"})
    failed = seen[-1]
    assert isinstance(failed, lines.Failed)
    assert (status, failed.code) == (2, "spec_unusable")
    assert "--init-adapter" in failed.hint
