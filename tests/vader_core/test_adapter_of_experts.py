"""Adapters of pipelines with several denoisers: names, files, checkpoints, merged variants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file

from tests.vader_core.conformance import models_wan
from tests.vader_core.tiny_models import compute, stir
from vader_core import adapter as adapters
from vader_core import base_models
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.catalogue import BaseModelRow, Variant, Weights
from vader_core.errors import CheckpointUnusable, WeightsUnreadable
from vader_core.spec import Adapter
from vader_core.weights_lock import Locked, LockedFile, lock

EXPERTS = ("transformer", "transformer_2")


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> BaseModelRow:
    return models_wan.build_experts(tmp_path_factory.mktemp("experts"))


def attached(
    row: BaseModelRow, denoisers: tuple[str, ...] = EXPERTS
) -> tuple[BaseModel, LoraAdapter]:
    base = base_models.load(row, compute(torch.float32))
    adapter = adapters.attach(base, Adapter(rank=2, alpha=3.0), seed=1, denoisers=denoisers)
    stir(adapter)
    return base, adapter


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_expert_gets_a_folder_and_comfyui_a_file_for_each(
    row: BaseModelRow, tmp_path: Path
) -> None:
    base, adapter = attached(row)
    written = adapters.export(adapter, base, tmp_path, card="card", lineage={})
    names = ("adapter_config.json", "adapter_model.safetensors", "pytorch_lora_weights.safetensors")
    assert files(tmp_path) == {
        *(f"{expert}/{name}" for expert in EXPERTS for name in names),
        "comfyui_lora_high_noise.safetensors",
        "comfyui_lora_low_noise.safetensors",
        "README.md",
        "lineage.json",
    }
    assert {path.relative_to(tmp_path).as_posix() for path in written} == files(tmp_path)
    for expert, noise in zip(EXPERTS, ("high", "low"), strict=True):
        comfyui = load_file(tmp_path / f"comfyui_lora_{noise}_noise.safetensors")
        own = load_file(tmp_path / expert / "pytorch_lora_weights.safetensors")
        converted = WanPipeline.lora_state_dict(comfyui)
        assert all(torch.equal(converted[name], own[name]) for name in own)
        assert json.loads((tmp_path / expert / "adapter_config.json").read_text())["r"] == 2


def test_only_the_trained_expert_is_written(row: BaseModelRow, tmp_path: Path) -> None:
    base, adapter = attached(row, ("transformer_2",))
    adapters.export(adapter, base, tmp_path, card="card", lineage={})
    assert not (tmp_path / "transformer").exists()
    assert "comfyui_lora_low_noise.safetensors" in files(tmp_path)
    assert "comfyui_lora_high_noise.safetensors" not in files(tmp_path)


def test_checkpoints_hold_both_experts(row: BaseModelRow, tmp_path: Path) -> None:
    _, adapter = attached(row)
    before = adapter.state_dict()
    assert {name.split("/")[0] for name in before} == set(EXPERTS)
    adapters.save(adapter, tmp_path)
    for _, parameter in adapter.parameters():
        parameter.data.zero_()
    adapters.restore(adapter, tmp_path)
    assert all(torch.equal(before[name], now) for name, now in adapter.state_dict().items())


def test_a_checkpoint_of_other_experts_is_refused(row: BaseModelRow, tmp_path: Path) -> None:
    _, low = attached(row, ("transformer_2",))
    adapters.save(low, tmp_path)
    _, both = attached(row)
    with pytest.raises(CheckpointUnusable, match="no weights for transformer"):
        adapters.restore(both, tmp_path)


def test_a_disabled_adapter_is_off_in_both_experts(row: BaseModelRow) -> None:
    base, adapter = attached(row)
    inputs = {
        "hidden_states": torch.ones(1, 4, 1, 4, 4),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.ones(1, 3, 16),
        "return_dict": False,
    }
    for expert in EXPERTS:
        denoiser = getattr(base.pipeline, expert)
        with torch.no_grad():
            on = denoiser(**inputs)[0]
            with adapter.disabled():
                off = denoiser(**inputs)[0]
            assert not torch.equal(on, off)
            assert torch.equal(on, denoiser(**inputs)[0])


def variant(folder: Path) -> Variant:
    return Variant(
        title="few steps",
        licence="none",
        inference_steps=2,
        guidance_scale=1.0,
        file=folder / "transformer" / "pytorch_lora_weights.safetensors",
        second_file=folder / "transformer_2" / "pytorch_lora_weights.safetensors",
    )


def test_a_variant_is_merged_into_each_expert(row: BaseModelRow, tmp_path: Path) -> None:
    base, adapter = attached(row)
    adapters.export(adapter, base, tmp_path, card="card", lineage={})
    plain = base_models.load(row, compute(torch.float32))
    merged = base_models.load(row, compute(torch.float32), variant=variant(tmp_path))
    for expert in EXPERTS:
        state = load_file(tmp_path / expert / "pytorch_lora_weights.safetensors")
        name = "blocks.1.attn1.to_q"
        first, second = (state[f"transformer.{name}.lora_{half}.weight"] for half in "AB")
        before = getattr(plain.pipeline, expert).get_submodule(name).weight
        after = getattr(merged.pipeline, expert).get_submodule(name).weight
        assert torch.allclose(after, before + second @ first, atol=1e-6)
        assert not hasattr(getattr(merged.pipeline, expert), "peft_config")


def test_a_variants_missing_second_file_is_named(row: BaseModelRow, tmp_path: Path) -> None:
    base, adapter = attached(row, ("transformer",))
    adapters.export(adapter, base, tmp_path, card="card", lineage={})
    few_steps = variant(tmp_path)
    assert not few_steps.installed
    with pytest.raises(WeightsUnreadable, match="transformer_2"):
        base_models.load(row, compute(torch.float32), variant=few_steps)


def test_a_variant_in_a_folder_of_its_repository_is_held_against_the_lock(
    row: BaseModelRow, tmp_path: Path
) -> None:
    base, adapter = attached(row)
    folder = tmp_path / "some--loras"
    adapters.export(adapter, base, folder, card="card", lineage={})
    name = "transformer/pytorch_lora_weights.safetensors"
    entry = Locked(repo="some/loras", commit="0" * 40, files={name: LockedFile(sha256="", size=1)})
    lock(folder, entry)
    few_steps = variant(folder).model_copy(
        update={"weights": Weights(repo="some/loras"), "weight_name": name}
    )
    with pytest.raises(WeightsUnreadable, match="bytes, not 1"):
        base_models.load(row, compute(torch.float32), variant=few_steps)
