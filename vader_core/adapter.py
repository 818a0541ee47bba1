"""The LoRA adapter: put into the denoisers by PEFT, trained in float32, saved in PEFT's own folders.

The base model's weights stay frozen. The masters are float32 (or more precise) whatever the base
model computes in: at learning rates around 1e-5 an update is smaller than the spacing of bf16 numbers
and would be lost.

A pipeline with one denoiser gets one PEFT folder. One with several (Wan 2.2's two experts) gets a
folder for each that learns, named as the pipeline names the denoiser.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from pydantic import JsonValue
from safetensors.torch import load_file, save_file
from torch import nn

from vader_core import seeds
from vader_core.base_models import BaseModel
from vader_core.errors import CheckpointUnusable, SpecUnusable
from vader_core.lora_layers import adapter_off, lora_layers
from vader_core.spec import Adapter
from vader_core.weights_lock import commit_of

# What PeftModel.save_pretrained puts before the name of a module.
PEFT_PREFIX = "base_model.model."
_WEIGHTS, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
_NAME = "default"
_METADATA = {"format": "pt"}

State = dict[str, torch.Tensor]


class LoraAdapter:
    """The adapter of the denoisers that learn.

    `denoisers` are these by name; `folders` says where each one's files lie below the adapter's own
    folder: "" for the only denoiser of a pipeline.
    """

    def __init__(
        self,
        denoisers: Mapping[str, nn.Module],
        folders: Mapping[str, str],
        config: LoraConfig,
    ) -> None:
        self.config, self.folders = config, folders
        self._denoisers = denoisers

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Names and weights, always in the same order.

        A name is the folder of its denoiser, where it has one, and the name in PEFT's file there.
        """
        return [
            (_qualified(self.folders[denoiser], name), parameter)
            for denoiser, module in self._denoisers.items()
            for name, parameter in _lora_parameters(module)
        ]

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside the `with` block the denoisers are the base model's."""
        with ExitStack() as stack:
            for module in self._denoisers.values():
                stack.enter_context(adapter_off(module))
            yield

    def state_dict(self) -> State:
        """Copies of the weights on the CPU, by the names of `parameters`."""
        return {
            _qualified(self.folders[denoiser], name): tensor
            for denoiser in self._denoisers
            for name, tensor in self.state_of(denoiser).items()
        }

    def state_of(self, denoiser: str) -> State:
        """Copies of one denoiser's weights on the CPU, by PEFT's names."""
        return {
            name: parameter.detach().to("cpu", copy=True).contiguous()
            for name, parameter in _lora_parameters(self._denoisers[denoiser])
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


def _lora_parameters(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [
        (PEFT_PREFIX + name.replace(f".{_NAME}.", "."), parameter)
        for name, parameter in module.named_parameters()
        if ".lora_" in name
    ]


def _qualified(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def attach(
    base: BaseModel, spec: Adapter, *, seed: int, denoisers: Sequence[str] | None = None
) -> LoraAdapter:
    """Puts a fresh adapter into `denoisers` of `base`, None meaning all; at first it changes nothing.

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
        revision=commit_of(base.row.weights, base.row.folder),
    )
    learning = {
        name: module
        for name, module in base.denoisers.items()
        if denoisers is None or name in denoisers
    }
    for module in learning.values():
        _inject(config, base, module)
    is_only = len(base.denoisers) == 1
    adapter = LoraAdapter(learning, {name: "" if is_only else name for name in learning}, config)
    for index, (name, parameter) in enumerate(adapter.parameters()):
        values = torch.zeros(parameter.shape)
        if ".lora_A." in name:
            generator = seeds.generator(seed, step=0, purpose="adapter", index=index)
            nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)
        parameter.data = values.to(base.compute.device, base.compute.precise_dtype)
    return adapter


def _inject(config: LoraConfig, base: BaseModel, module: nn.Module) -> None:
    try:
        inject_adapter_in_model(config, module, _NAME)
    except ValueError as error:
        raise SpecUnusable(
            f"The adapter does not fit {base.row.id}: {error}",
            hint=f"Linear layers of this model end in: {', '.join(_linear_endings(module))}.",
        ) from error
    module.eval()
    for layer in lora_layers(module):
        layer.to(base.compute.device)


def _linear_endings(denoiser: nn.Module) -> list[str]:
    names = [name for name, module in denoiser.named_modules() if isinstance(module, nn.Linear)]
    return sorted(
        {name.split(".", name.count(".") - 1)[-1] if "." in name else name for name in names}
    )


def save(adapter: LoraAdapter, folder: Path) -> list[Path]:
    """Writes PEFT's two files, adapter_model.safetensors and adapter_config.json, for every denoiser."""
    fields = {**adapter.config.to_dict(), "inference_mode": True}
    text = json.dumps(fields, indent=2, sort_keys=True, default=_plain)
    files = []
    for denoiser, below in adapter.folders.items():
        place = folder / below
        place.mkdir(parents=True, exist_ok=True)
        save_file(adapter.state_of(denoiser), place / _WEIGHTS, metadata=_METADATA)
        (place / CONFIG_FILE).write_text(text, encoding="utf-8")
        files += [place / _WEIGHTS, place / CONFIG_FILE]
    return files


def restore(adapter: LoraAdapter, folder: Path) -> None:
    """Takes the weights that `save` wrote. Raises `CheckpointUnusable` where they do not fit."""
    state: State = {}
    for below in adapter.folders.values():
        file = folder / below / _WEIGHTS
        if not file.is_file():
            raise CheckpointUnusable(
                f"The checkpoint has no weights for {below or 'the denoiser'}.",
                hint="The denoisers that learn have to be those of the checkpoint.",
            )
        state |= {_qualified(below, name): tensor for name, tensor in load_file(file).items()}
    adapter.load_state_dict(state)


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
    - pytorch_lora_weights.safetensors beside it, where `pipeline.load_lora_weights` reads that;
    - comfyui_lora.safetensors, where ComfyUI has names for the layers; for experts one file each,
      comfyui_lora_<expert>.safetensors;
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


def layouts(adapter: LoraAdapter, base: BaseModel) -> dict[str, State]:
    """By path in the adapter's folder, the adapter in each layout besides PEFT's that exists for `base`."""
    found: dict[str, State] = {}
    for denoiser, below in adapter.folders.items():
        scaled = {
            name.removeprefix(PEFT_PREFIX): tensor * adapter.scale if ".lora_B." in name else tensor
            for name, tensor in adapter.state_of(denoiser).items()
        }
        if loads_in_diffusers(base):
            # A second expert's file, too, names the pipeline's first denoiser: load_lora_weights is
            # told by an argument which of them it is for.
            prefix = next(iter(base.denoisers))
            found[_qualified(below, "pytorch_lora_weights.safetensors")] = {
                f"{prefix}.{name}": tensor for name, tensor in scaled.items()
            }
        comfyui = base.family.comfyui(scaled)
        if comfyui is not None:
            expert = f"_{base.family.experts[denoiser]}" if below else ""
            found[f"comfyui_lora{expert}.safetensors"] = comfyui
    return found


def loads_in_diffusers(base: BaseModel) -> bool:
    """Whether `load_lora_weights` works: a pipeline may have it while its denoiser lacks what it calls."""
    return hasattr(base.pipeline, "load_lora_weights") and hasattr(
        base.denoiser, "load_lora_adapter"
    )


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
