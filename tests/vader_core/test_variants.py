"""Distilled forms: a LoRA merged before training, another scheduler, no unconditional calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tests.vader_core.trainer import Trainer
from vader_core import base_models
from vader_core.catalogue import BUILT_IN, BaseModelRow, Catalogue
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.resolve import with_defaults
from vader_core.spec import Video

FAST: dict[str, Any] = {
    "title": "Tiny Wan in two steps",
    "licence": "MIT",
    "weight_name": "fast.safetensors",
    "lora_scale": 0.5,
    "inference_steps": 2,
    "guidance_scale": 1.0,
    "scheduler": {"shift": 7.0},
}
CPU = Compute(torch.device("cpu"), torch.float32)


def write_catalogue(folder: Path) -> Path:
    """tiny-wan under another id, with a variant whose LoRA is random."""
    base = BUILT_IN.base_models["tiny-wan"]
    weights = folder / "fast"
    weights.mkdir()
    transformer = base_models.load(base, CPU).denoiser
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"])
    inject_adapter_in_model(config, transformer, "fast")
    generator = torch.Generator().manual_seed(0)
    lora = {
        f"transformer.{name}": 0.2 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in get_peft_model_state_dict(transformer, adapter_name="fast").items()
    }
    save_file(lora, weights / "fast.safetensors")
    row = base.model_dump(mode="json", exclude={"folder"})
    variant = {**FAST, "weights": {"folder": str(weights)}}
    path = folder / "catalogue.json"
    path.write_text(
        json.dumps({"base_models": [{**row, "id": "distilled", "variants": {"fast": variant}}]})
    )
    return path


@pytest.fixture(scope="module")
def catalogue_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("variants"))


@pytest.fixture(scope="module")
def row(catalogue_file: Path) -> BaseModelRow:
    return Catalogue.load(catalogue_file).base_models["distilled"]


def test_the_merged_weights_are_the_base_models_and_the_scaled_product(row: BaseModelRow) -> None:
    plain = base_models.load(row, CPU).denoiser.state_dict()
    merged = base_models.load(row, CPU, variant=row.variants["fast"]).denoiser.state_dict()
    assert plain.keys() == merged.keys(), "nothing of the LoRA stays switchable"
    file = row.variants["fast"].file
    assert file is not None
    lora = load_file(file)
    touched = {name.removeprefix("transformer.").rpartition(".lora_")[0] for name in lora}
    for name, weight in plain.items():
        layer = name.removesuffix(".weight")
        expected = weight
        if layer in touched:
            a, b = (lora[f"transformer.{layer}.lora_{factor}.weight"] for factor in "AB")
            expected = weight + 0.5 * (b @ a)
            assert not torch.equal(weight, merged[name])
        assert torch.allclose(merged[name], expected, atol=1e-6)
    assert len(touched) == 24


def test_scheduler_steps_and_guidance_are_the_variants(row: BaseModelRow) -> None:
    base = base_models.load(row, CPU, variant=row.variants["fast"])
    assert base.pipeline.scheduler.config.shift == 7.0
    video = with_defaults(Video(), row, "fast")
    assert (video.inference_steps, video.guidance_scale) == (2, 1.0)
    assert base.family.calls(base.pipeline, video) == (("cond",),)


def test_another_scheduler_class_takes_over_what_the_configuration_says(row: BaseModelRow) -> None:
    lcm = {"_class_name": "FlowMatchLCMScheduler"}
    variant = row.variants["fast"].model_copy(
        update={"scheduler": lcm, "weights": None, "file": None}
    )
    scheduler = base_models.load(row, CPU, variant=variant).pipeline.scheduler
    assert type(scheduler).__name__ == "FlowMatchLCMScheduler"
    assert scheduler.config.shift == base_models.load(row, CPU).pipeline.scheduler.config.shift


def test_the_variants_call_goes_before_the_rows(row: BaseModelRow) -> None:
    called = row.model_copy(update={"call": {"max_sequence_length": 8, "attention_kwargs": None}})
    variant = row.variants["fast"].model_copy(update={"call": {"max_sequence_length": 16}})
    base = base_models.load(called, CPU, variant=variant)
    assert base.row.call == {"max_sequence_length": 16, "attention_kwargs": None}


def test_a_lora_of_another_architecture_is_refused(row: BaseModelRow, tmp_path: Path) -> None:
    save_file({"transformer.x.lora_A.weight": torch.zeros(2, 3)}, tmp_path / "fast.safetensors")
    variant = row.variants["fast"].model_copy(update={"file": tmp_path / "fast.safetensors"})
    with pytest.raises(WeightsUnreadable):
        base_models.load(row, CPU, variant=variant)


def test_a_job_on_a_variant_exports_its_own_adapter_alone(
    catalogue_file: Path, tmp_path: Path
) -> None:
    trainer = Trainer(tmp_path)
    status, _ = trainer(
        "--catalogue",
        str(catalogue_file),
        base_model="distilled",
        variant="fast",
        video={"width": 16, "height": 16, "num_frames": 3, "inference_steps": 2},
        budget={"max_steps": 1},
    )
    assert status == 0
    adapter = trainer.out / "adapter" / "adapter_model.safetensors"
    own = load_file(adapter)
    assert {tensor.shape[0] for name, tensor in own.items() if "lora_A" in name} == {2}
    assert not {name for name in own if "fast" in name}
    lineage = json.loads((adapter.parent / "lineage.json").read_text())
    assert lineage["base_model"]["variant"]["name"] == "fast"
    card = (adapter.parent / "README.md").read_text()
    assert "Tiny Wan in two steps" in card
    assert "pipe.fuse_lora(lora_scale=0.5)" in card
