"""The LoRA adapter: put into the denoiser by PEFT, trained in float32, saved in PEFT's own folder.

The base model's weights stay frozen. The masters are float32 (or more precise) whatever the base
model computes in: at learning rates around 1e-5 an update is smaller than the spacing of bf16 numbers
and would be lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from pydantic import JsonValue
from safetensors.torch import save_file
from torch import nn

from vader_core import seeds
from vader_core.base_models import BaseModel
from vader_core.errors import CheckpointUnusable, SpecUnusable
from vader_core.lora_layers import adapter_off, lora_layers
from vader_core.spec import Adapter
from vader_core.wan_keys import to_comfyui

# What PeftModel.save_pretrained puts before the name of a module.
PEFT_PREFIX = "base_model.model."
_NAME = "default"
_METADATA = {"format": "pt"}


class LoraAdapter:
    """The adapter of one denoiser."""

    def __init__(self, denoiser: nn.Module, config: LoraConfig) -> None:
        self.config = config
        self._denoiser = denoiser

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Names, as in PEFT's files, and weights, always in the same order."""
        return [
            (PEFT_PREFIX + name.replace(f".{_NAME}.", "."), parameter)
            for name, parameter in self._denoiser.named_parameters()
            if ".lora_" in name
        ]

    def disabled(self) -> AbstractContextManager[None]:
        """Inside the `with` block the denoiser is the base model."""
        return adapter_off(self._denoiser)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the weights on the CPU, by PEFT's names."""
        return {
            name: parameter.detach().to("cpu", copy=True).contiguous()
            for name, parameter in self.parameters()
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes the weights of `state`. Raises `CheckpointUnusable` where it does not fit."""
        own = dict(self.parameters())
        misfits = sorted(
            set(own) ^ set(state)
            | {name for name in set(own) & set(state) if own[name].shape != state[name].shape}
        )
        if misfits:
            raise CheckpointUnusable(
                f"The adapter's weights do not fit: {len(misfits)} differ, among them {misfits[0]}.",
                hint="Rank, target modules and base model have to be those of the checkpoint.",
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    @property
    def scale(self) -> float:
        """What the product of the two factors is multiplied by."""
        return float(self.config.lora_alpha / self.config.r)


def attach(base: BaseModel, spec: Adapter, *, seed: int) -> LoraAdapter:
    """Puts a fresh adapter into the denoiser of `base`; at first it changes nothing.

    The first factors are uniform as PEFT draws them (Kaiming with a = sqrt(5)), each from a generator
    of its own that depends on `seed` alone; the second factors are zero. Raises `SpecUnusable` where
    `spec.target_modules` match nothing.
    """
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=spec.target_modules or base.row.lora_targets,
        base_model_name_or_path=f"{base.row.id}@{base.row.version}",
        revision=base.row.revision,
    )
    denoiser = base.denoiser
    try:
        inject_adapter_in_model(config, denoiser, _NAME)
    except ValueError as error:
        raise SpecUnusable(
            f"The adapter does not fit {base.row.id}: {error}",
            hint=f"Linear layers of this model end in: {', '.join(_linear_endings(denoiser))}.",
        ) from error
    denoiser.eval()
    adapter = LoraAdapter(denoiser, config)
    for layer in lora_layers(denoiser):
        layer.to(base.compute.device)
    for index, (name, parameter) in enumerate(adapter.parameters()):
        values = torch.zeros(parameter.shape)
        if ".lora_A." in name:
            generator = seeds.generator(seed, step=0, purpose="adapter", index=index)
            nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)
        parameter.data = values.to(base.compute.device, base.compute.precise_dtype)
    return adapter


def _linear_endings(denoiser: nn.Module) -> list[str]:
    names = [name for name, module in denoiser.named_modules() if isinstance(module, nn.Linear)]
    return sorted(
        {name.split(".", name.count(".") - 1)[-1] if "." in name else name for name in names}
    )


def save(adapter: LoraAdapter, folder: Path) -> list[Path]:
    """Writes PEFT's two files, adapter_model.safetensors and adapter_config.json, into `folder`."""
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    save_file(adapter.state_dict(), weights, metadata=_METADATA)
    fields = {**adapter.config.to_dict(), "inference_mode": True}
    config.write_text(
        json.dumps(fields, indent=2, sort_keys=True, default=_plain), encoding="utf-8"
    )
    return [weights, config]


def export(
    adapter: LoraAdapter,
    base: BaseModel,
    folder: Path,
    *,
    card: str,
    lineage: Mapping[str, JsonValue],
) -> list[Path]:
    """Writes the adapter in every layout that its base model's users can load; returns the files.

    - PEFT's folder, always: `peft.PeftModel.from_pretrained(pipeline.<denoiser>, folder)`;
    - pytorch_lora_weights.safetensors, where `pipeline.load_lora_weights(folder)` works;
    - comfyui_lora.safetensors, for Wan;
    - README.md (`card`) and lineage.json.

    The last two layouts have no place for alpha that every loader reads: the scale alpha / rank is in
    their second factors, so that they are right at strength 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = save(adapter, folder)
    for name, tensors in layouts(adapter, base).items():
        files.append(folder / name)
        save_file(tensors, files[-1], metadata=_METADATA)
    texts = {
        "README.md": card,
        "lineage.json": json.dumps(lineage, indent=2, sort_keys=True) + "\n",
    }
    for name, text in texts.items():
        files.append(folder / name)
        files[-1].write_text(text, encoding="utf-8")
    return files


def layouts(adapter: LoraAdapter, base: BaseModel) -> dict[str, dict[str, torch.Tensor]]:
    """By file name, the adapter in each layout besides PEFT's that exists for `base`."""
    scaled = {
        name.removeprefix(PEFT_PREFIX): tensor * adapter.scale if ".lora_B." in name else tensor
        for name, tensor in adapter.state_dict().items()
    }
    found: dict[str, dict[str, torch.Tensor]] = {}
    # A pipeline may have the loader while its denoiser lacks the method that the loader calls.
    if hasattr(base.pipeline, "load_lora_weights") and hasattr(base.denoiser, "load_lora_adapter"):
        found["pytorch_lora_weights.safetensors"] = {
            f"{base.family.denoiser}.{name}": tensor for name, tensor in scaled.items()
        }
    comfyui = to_comfyui(scaled) if base.row.family == "wan" else None
    if comfyui is not None:
        found["comfyui_lora.safetensors"] = comfyui
    return found


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
