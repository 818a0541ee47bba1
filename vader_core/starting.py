"""What a run starts from when it is not the base model alone: an adapter's weights, or a whole state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vader_core import adapter as adapters
from vader_core import checkpoints
from vader_core.adapter import LoraAdapter
from vader_core.errors import CheckpointUnusable, StartUnusable
from vader_core.order import Start

_HINT = (
    "Start from an adapter of the same base model, rank, alpha and target modules, or from none."
)


def take_weights(adapter: LoraAdapter, folder: Path) -> None:
    """Gives `adapter` the weights of the adapter in `folder`, PEFT's files as `adapter.save` writes them.

    Raises `StartUnusable` where rank, alpha, target modules, base model or denoisers are not the same.
    """
    for below in adapter.folders.values():
        misfits = _misfits(adapter, _config(folder / below))
        if misfits:
            raise StartUnusable(f"The adapter to start from has {misfits}.", hint=_HINT)
    try:
        adapters.restore(adapter, folder)
    except CheckpointUnusable as error:
        raise StartUnusable(error.message, hint=_HINT) from error


def full_state(start: Start) -> Path:
    """The checkpoint folder to go on from. Raises `StartUnusable` where it is not whole."""
    damage = checkpoints.damage(start.folder)
    if damage is not None:
        raise StartUnusable(
            f"The checkpoint to start from cannot be used: {damage}",
            hint="Give a whole checkpoint folder with its manifest.json.",
        )
    return start.folder


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / adapters.CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StartUnusable(
            f"There is no readable {adapters.CONFIG_FILE} in the adapter to start from: {error}",
            hint=_HINT,
        ) from error
    if not isinstance(config, dict):
        raise StartUnusable(f"{adapters.CONFIG_FILE} holds no object.", hint=_HINT)
    return config


def _misfits(adapter: LoraAdapter, config: dict[str, Any]) -> str:
    """What of the stored `config` differs from the adapter's own, in words; "" where it fits."""
    own = adapter.config
    wanted = {
        "base_model_name_or_path": own.base_model_name_or_path,
        "r": own.r,
        "lora_alpha": own.lora_alpha,
        "target_modules": _names(own.target_modules),
    }
    found = {**config, "target_modules": _names(config.get("target_modules"))}
    return ", ".join(
        f"{name} {found.get(name)!r} where {value!r} is asked for"
        for name, value in wanted.items()
        if found.get(name) != value
    )


def _names(modules: object) -> object:
    return sorted(modules) if isinstance(modules, list | set) else modules
