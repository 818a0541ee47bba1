"""What converters share: reading checkpoints, filling models by name, writing folders whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vader_core.convert.published import filled, read, refuse, staged
from vader_core.errors import WeightsUnreadable

TENSORS = {"old.weight": torch.ones(2, 3), "old.bias": torch.zeros(2)}


@pytest.mark.parametrize("name", ["model.safetensors", "model.ckpt", "model.pt"])
def test_a_checkpoint_is_read_by_its_kind(name: str, tmp_path: Path) -> None:
    if name.endswith("safetensors"):
        save_file(TENSORS, tmp_path / name)
    else:
        torch.save({"state_dict": TENSORS} if name == "model.ckpt" else TENSORS, tmp_path / name)
    got = read(tmp_path / name)
    assert got.keys() == TENSORS.keys()
    assert torch.equal(got["old.weight"], TENSORS["old.weight"])


@pytest.mark.parametrize("name", ["model.safetensors", "model.ckpt"])
def test_a_broken_or_missing_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="cannot be read"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(b"no checkpoint")
    with pytest.raises(WeightsUnreadable, match="cannot be read"):
        read(tmp_path / name)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Path("x")}, tmp_path / "model.ckpt")
    with pytest.raises(WeightsUnreadable, match="cannot be read"):
        read(tmp_path / "model.ckpt")


def test_a_linear_layer_takes_the_weight_of_a_convolution_of_width_1() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    tensors = {"old.weight": torch.ones(2, 3, 1, 1), "old.bias": torch.zeros(2)}
    assert filled(model, tensors, lambda name: f"old.{name}") == []
    assert torch.equal(model.weight, torch.ones(2, 3))


def test_what_does_not_fit_is_named() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    faults = filled(model, {"weight": torch.ones(3, 2)}, lambda name: name)
    assert faults == ["weight is (3, 2), not (2, 3)", "bias is missing"]
    with pytest.raises(WeightsUnreadable, match="and 5 more"):
        refuse(Path("model.ckpt"), [str(number) for number in range(25)], expected="a model")
    refuse(Path("model.ckpt"), [], expected="a model")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out) as folder:
        (folder / "file").write_text("first")
        assert not out.exists()
    with pytest.raises(FileNotFoundError), staged(out) as folder:
        (folder / "missing" / "file").write_text("second")
    assert (out / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
