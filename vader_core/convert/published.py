"""What converters share: reading published checkpoints, filling models by name, writing folders whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vader_core.errors import WeightsUnreadable
from vader_core.files import replace_folder

_NAMED_AT_ONCE = 20


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by name, on the CPU; those below `state_dict` where there is one.

    Safetensors files are read as such, others by `torch.load` without running code. Raises
    `WeightsUnreadable`.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, SafetensorError, UnpicklingError, ValueError) as error:
        raise WeightsUnreadable(
            f"The checkpoint {path} cannot be read: {type(error).__name__}: {error}",
            hint="Copy the published file again.",
        ) from error
    held = held.get("state_dict", held) if isinstance(held, Mapping) else held
    if not isinstance(held, Mapping) or not all(
        isinstance(one, torch.Tensor) for one in held.values()
    ):
        raise WeightsUnreadable(
            f"The checkpoint {path} holds more than named tensors.",
            hint="Give the file that the model's authors published.",
        )
    return dict(held)


def filled(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], published_name: Callable[[str], str]
) -> list[str]:
    """Gives `model`, made on the meta device, its weights out of `tensors`; returns what does not fit.

    `published_name` gives the published name of each of the model's tensors. A published tensor may
    have the dimensions of size 1 at its end that a convolution of width 1 has and a linear layer has not.
    """
    weights, faults = {}, []
    for name, wanted in model.state_dict().items():
        source = published_name(name)
        if source not in tensors:
            faults.append(f"{source} is missing")
            continue
        tensor = tensors[source]
        if tensor.shape[: wanted.ndim] == wanted.shape and tensor.numel() == wanted.numel():
            weights[name] = tensor.reshape(wanted.shape)
        else:
            faults.append(f"{source} is {tuple(tensor.shape)}, not {tuple(wanted.shape)}")
    model.load_state_dict(weights, strict=False, assign=True)
    return faults


def refuse(path: Path, faults: list[str], *, expected: str) -> None:
    """Raises one `WeightsUnreadable` that names the `faults` found in `path`; returns where there are none."""
    if not faults:
        return
    more = len(faults) - _NAMED_AT_ONCE
    named = "; ".join(faults[:_NAMED_AT_ONCE]) + (f"; and {more} more" if more > 0 else "")
    raise WeightsUnreadable(
        f"{path} is not {expected}: {named}.", hint=f"Give the published file: {expected}."
    )


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A new folder beside `out`; it becomes `out` when the block ends, and goes when the block fails."""
    stage = out.with_name(f"tmp-{out.name}")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
        replace_folder(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
