"""Reading weight folders: every way in which one can be missing or broken as one typed error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vader_core.errors import WeightsUnreadable

# The device that models are made on instead of being read; None where they are read.
_made_on = ContextVar[str | None]("weights_made_on", default=None)


@contextmanager
def without_weights(device: str = "meta") -> Iterator[None]:
    """Inside, models are made of their configurations alone, with the values that their classes begin with.

    On torch's meta device, the default, they have none.
    """
    token = _made_on.set(device)
    try:
        yield
    finally:
        _made_on.reset(token)


@contextmanager
def reading(folder: Path, *, needs: Sequence[str], expected: str) -> Iterator[None]:
    """Turns whatever the loaders raise over a bad folder into `WeightsUnreadable`.

    `needs` are files that must be there; `expected` says what the folder should hold.
    """
    missing = [name for name in needs if not (folder / name).is_file()]
    if missing:
        problem = "does not exist" if not folder.is_dir() else f"lacks {', '.join(missing)}"
        raise WeightsUnreadable(f"The weight folder {folder} {problem}.", hint=_hint(expected))
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (
        AttributeError,
        ImportError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
        json.JSONDecodeError,
    ) as error:
        raise WeightsUnreadable(
            f"The weights in {folder} cannot be read: {type(error).__name__}: {error}",
            hint=_hint(expected),
        ) from error


def required_folder(folder: Path | None, row_id: str) -> Path:
    """The folder of a catalogue row that cannot do without one. Raises `WeightsUnreadable`."""
    if folder is None:
        raise WeightsUnreadable(
            f"The catalogue gives no weight folder for {row_id!r}.",
            hint="Set `folder` in its row.",
        )
    return folder


def load_model(
    model_class: Any, folder: Path, *, dtype: torch.dtype, expected: str, subfolder: str = ""
) -> Any:
    """A frozen diffusers or transformers model in evaluation mode, on the CPU.

    Only safetensors files of the folder are read, and no code. Raises `WeightsUnreadable` for a
    folder that is missing or broken, and for one that lacks tensors, which the loaders alone would
    make up at random.
    """
    with reading(folder / subfolder, needs=["config.json"], expected=expected):
        if device := _made_on.get():
            with torch.device(device):
                return _untrained(model_class, folder, subfolder, dtype)
        model, info = model_class.from_pretrained(
            folder,
            subfolder=subfolder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsUnreadable(
            f"The weights in {folder / subfolder} lack {len(missing)} tensors, such as {missing[0]}.",
            hint=_hint(expected),
        )
    return model.eval().requires_grad_(requires_grad=False)


def _untrained(model_class: Any, folder: Path, subfolder: str, dtype: torch.dtype) -> Any:
    """The model of a configuration, in the dtypes that loading would give it."""
    where = {"subfolder": subfolder, "local_files_only": True}
    is_diffusers = hasattr(model_class, "from_config")
    if is_diffusers:
        model = model_class.from_config(model_class.load_config(folder, **where))
    else:
        model = model_class(model_class.config_class.from_pretrained(folder, **where))
    precise = set(model._keep_in_fp32_modules or []) if is_diffusers else set()
    for name, parameter in model.named_parameters():
        if not precise & set(name.split(".")):
            parameter.data = parameter.data.to(dtype)
    return model.eval().requires_grad_(requires_grad=False)


def _hint(expected: str) -> str:
    return (
        f"Expected {expected}. Copy the whole folder again, or correct `folder` in the catalogue."
    )
