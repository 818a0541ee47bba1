from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import YolosForObjectDetection

from tests.vader_core.rewards import checks, small_detectors
from vader_core.convert.transformers_bin import convert
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.detection import ObjectRemoval


def published(folder: Path) -> YolosForObjectDetection:
    """A small YOLOS in the format of hustvl/yolos-base."""
    model = small_detectors.yolos(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


def test_converted_folder_holds_the_same_model_and_serves_as_a_reward(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    model = published(source)
    convert({"folder": source}, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    loaded = YolosForObjectDetection.from_pretrained(out)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    reward = ObjectRemoval(checks.row(out), {"object": "book"}, checks.compute())
    assert reward.score(checks.videos(), checks.PROMPTS).isfinite().all()


def test_tensors_that_share_memory_are_written_each(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    shared = torch.arange(6.0)
    torch.save({"a": shared, "b": shared[:3]}, source / "pytorch_model.bin")
    (source / "config.json").write_text("{}")
    convert({"folder": source}, out)
    assert (out / "model.safetensors").is_file()


def test_folder_without_the_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match=r"lacks pytorch_model\.bin, config\.json"):
        convert({"folder": tmp_path}, tmp_path / "out")
