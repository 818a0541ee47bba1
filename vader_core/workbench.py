"""Everything that a run loads and works with: base model, adapter, optimiser, rewards, prompts."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from vader_core import adapter as adapters
from vader_core import base_models, devices
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.catalogue import find_row
from vader_core.devices import Compute
from vader_core.files import write_synced
from vader_core.objective import Objective, load_objective
from vader_core.optimiser import Optimiser
from vader_core.order import Order
from vader_core.prompts import split
from vader_core.spec import Prompt

_ADAPTER = "adapter"
_OPTIMISER = "optimizer.safetensors"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workbench:
    """What a run works with. `prompts` are the training prompts."""

    compute: Compute
    base: BaseModel
    adapter: LoraAdapter
    optimiser: Optimiser
    objective: Objective
    prompts: list[Prompt]

    def save(self, folder: Path) -> None:
        """Writes the adapter and the optimiser's tensors into `folder`."""
        (folder / _ADAPTER).mkdir()
        adapters.save(self.adapter, folder / _ADAPTER)
        write_synced(folder / _OPTIMISER, save(self.optimiser.state_dict()))

    def restore(self, folder: Path) -> None:
        """Takes what `save` wrote. Raises `CheckpointUnusable` where it does not fit."""
        adapters.restore(self.adapter, folder / _ADAPTER)
        self.optimiser.load_state_dict(load_file(folder / _OPTIMISER))


def set_up(order: Order) -> Workbench:
    """Loads what the order names, with a fresh adapter. Raises `WeightsUnreadable`, `SpecUnusable`."""
    spec = order.spec
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    devices.make_deterministic()
    compute = devices.pick(order.device, spec.method.precision)
    row = find_row(spec.base_model, order.catalogue.base_models)
    if row is None:
        raise ValueError(f"the spec is not resolved: {spec.base_model!r} is not in the catalogue")
    _log.info("loading %s on %s", row.id, compute.device)
    base = base_models.load(
        row,
        compute,
        variant=row.variants[spec.variant] if spec.variant else None,
        images=order.images,
    )
    learning = base.family.trained(
        base.pipeline,
        spec.video,
        differentiable_steps=spec.method.reach(spec.video.inference_steps or 1),
    )
    adapter = adapters.attach(base, spec.adapter, seed=spec.seed, denoisers=learning)
    _log.info("loading the rewards")
    objective = load_objective(spec, order.catalogue, compute)
    prompts, _ = split(spec.prompts.inline or [], spec.prompts.heldout_fraction)
    return Workbench(
        compute=compute,
        base=base,
        adapter=adapter,
        optimiser=Optimiser(adapter.parameters(), spec.method),
        objective=objective,
        prompts=prompts,
    )


def versions() -> dict[str, str]:
    """Of Python and of the packages that a run's numbers depend on."""
    packages = ("torch", "diffusers", "transformers", "peft")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}
