"""Writing of weight folders."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from vader_core.tiny import folders
from vader_core.tiny.judge import Judge, JudgeConfig


def test_weights_are_stored_in_half_precision_and_nothing_is_left_over(tmp_path: Path) -> None:
    target = tmp_path / "judge"
    judge = Judge(JudgeConfig(width=4))
    folders.save(judge, target)
    assert sorted(file.name for file in target.iterdir()) == ["config.json", "model.safetensors"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["judge"]
    stored = load_file(target / "model.safetensors")
    for name, tensor in judge.state_dict().items():
        assert torch.equal(stored[name], tensor.half())


def test_a_newer_version_replaces_files_and_keeps_the_others(tmp_path: Path) -> None:
    target = tmp_path / "judge"
    folders.save(Judge(JudgeConfig(width=4)), target)
    (target / "notes.json").write_text("{}")
    newer = Judge(JudgeConfig(width=4))
    folders.save(newer, target)
    loaded = Judge.from_pretrained(target)
    assert torch.equal(loaded.colour.weight, newer.colour.weight.half().float())
    assert (target / "notes.json").exists()
