from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.vader_core.tiny_models import compute
from vader_core import base_models, rewards
from vader_core.catalogue import BUILT_IN
from vader_core.errors import WeightsUnreadable
from vader_core.spec import RewardTerm


def truncate(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:-1000])


def lose_a_tensor(folder: Path, name: str) -> None:
    tensors = load_file(folder / name)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / name, metadata={"format": "pt"})


def remove(folder: Path, name: str) -> None:
    (folder / name).unlink()


def garble(folder: Path, name: str) -> None:
    (folder / name).write_text("{", encoding="utf-8")


def become_a_pickle(folder: Path, name: str) -> None:
    torch.save(load_file(folder / name), folder / "pytorch_model.bin")
    (folder / name).unlink()


Damage = Callable[[Path, str], None]


def load_reward(row_id: str, folder: Path) -> None:
    row = BUILT_IN.rewards[row_id].model_copy(update={"folder": folder})
    rewards.load(RewardTerm(reward=row_id), row, compute(torch.float32))


@pytest.mark.parametrize(
    ("row_id", "damage", "name"),
    [
        ("tiny-action", truncate, "model.safetensors"),
        ("tiny-action", lose_a_tensor, "model.safetensors"),
        ("tiny-action", remove, "model.safetensors"),
        ("tiny-action", become_a_pickle, "model.safetensors"),
        ("tiny-action", garble, "config.json"),
        ("tiny-action", remove, "preprocessor_config.json"),
        ("tiny-text-match", truncate, "model.safetensors"),
        ("tiny-text-match", garble, "tokenizer.json"),
        ("tiny-preference", remove, "preference_head.json"),
        ("tiny-preference", truncate, "preference_head.safetensors"),
        ("tiny-preference", lose_a_tensor, "preference_head.safetensors"),
    ],
)
def test_broken_reward_folders_are_refused_with_a_hint(
    row_id: str, damage: Damage, name: str, tmp_path: Path
) -> None:
    source = BUILT_IN.rewards[row_id].folder
    assert source is not None
    folder = tmp_path / "weights"
    shutil.copytree(source, folder)
    damage(folder, name)
    with pytest.raises(WeightsUnreadable, match="weights") as caught:
        load_reward(row_id, folder)
    assert str(folder) in caught.value.message
    assert "Expected" in caught.value.hint


@pytest.mark.parametrize(
    ("row_id", "damage", "name"),
    [
        ("tiny-unet", truncate, "unet/diffusion_pytorch_model.safetensors"),
        ("tiny-unet", lose_a_tensor, "unet/diffusion_pytorch_model.safetensors"),
        ("tiny-unet", remove, "vae/diffusion_pytorch_model.safetensors"),
        ("tiny-unet", garble, "model_index.json"),
        ("tiny-unet", remove, "model_index.json"),
        ("tiny-wan", remove, "transformer/config.json"),
        ("tiny-wan", lose_a_tensor, "vae/diffusion_pytorch_model.safetensors"),
        ("tiny-wan", lose_a_tensor, "text_encoder/model.safetensors"),
    ],
)
def test_broken_base_model_folders_are_refused_with_a_hint(
    row_id: str, damage: Damage, name: str, tmp_path: Path
) -> None:
    row = BUILT_IN.base_models[row_id]
    folder = tmp_path / "weights"
    shutil.copytree(row.folder, folder)
    damage(folder, name)
    with pytest.raises(WeightsUnreadable, match="weights") as caught:
        base_models.load(row.model_copy(update={"folder": folder}), compute(torch.float32))
    assert str(folder) in caught.value.message
    assert "Expected" in caught.value.hint


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="does not exist"):
        load_reward("tiny-action", tmp_path / "nowhere")


def test_folder_of_another_pipeline_is_refused(tmp_path: Path) -> None:
    row = BUILT_IN.base_models["tiny-wan"]
    other = row.model_copy(update={"folder": BUILT_IN.base_models["tiny-unet"].folder})
    with pytest.raises(WeightsUnreadable, match="tiny-unet"):
        base_models.load(other, compute(torch.float32))
