"""A stored adapter put into its base model at a chosen scale, to sample with it."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from vader_core import adapter as adapters
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.errors import AdapterUnusable, CheckpointUnusable, SpecUnusable
from vader_core.lora_layers import lora_layers
from vader_core.spec import Adapter

_HINT = "Give the folder of an adapter of this very base model, as training wrote it."


def load(base: BaseModel, folder: Path, *, scale: float) -> LoraAdapter:
    """Puts the adapter of PEFT's `folder` into `base`; its effect is multiplied by `scale`.

    Raises `AdapterUnusable` where the folder is no adapter or another base model's.
    """
    is_only = len(base.denoisers) == 1
    places = {name: folder if is_only else folder / name for name in base.denoisers}
    learned = {
        name: place for name, place in places.items() if (place / adapters.CONFIG_FILE).is_file()
    }
    if not learned:
        raise AdapterUnusable(f"{folder.name} has no {adapters.CONFIG_FILE}.", hint=_HINT)
    settings = _settings(next(iter(learned.values())))
    try:
        adapter = adapters.attach(base, settings, seed=0, denoisers=list(learned))
        adapters.restore(adapter, folder)
    except (SpecUnusable, CheckpointUnusable) as error:
        raise AdapterUnusable(error.message, hint=_HINT) from error
    for name in learned:
        for layer in lora_layers(base.denoisers[name]):
            layer.scale_layer(scale)
    return adapter


def _settings(place: Path) -> Adapter:
    """What the adapter was made with; without its dropout, which is for training."""
    try:
        config = json.loads((place / adapters.CONFIG_FILE).read_text(encoding="utf-8"))
        return Adapter.model_validate(
            {
                "rank": config["r"],
                "alpha": config["lora_alpha"],
                "target_modules": config["target_modules"],
            }
        )
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        what = f"The adapter's {adapters.CONFIG_FILE} cannot be used: {error}"
        raise AdapterUnusable(what, hint=_HINT) from error
