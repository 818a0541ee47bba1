"""The trainer's own errors for what the libraries below it raise."""

from __future__ import annotations

import torch

from vader_core.errors import HostOutOfMemory, OutOfMemory, TrainerError
from vader_core.order import storage_fault

# What torch says when the host has no memory left; it has no class of its own for that.
_HOST_MEMORY = "can't allocate memory"


def as_trainer_error(error: Exception, *, of: str, need_less: str) -> TrainerError:
    """`error` as the command `of` (trainer, scorer, generator) names it; `need_less` says what takes less memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return OutOfMemory(f"The GPU's memory is used up: {error}", hint=need_less)
    if isinstance(error, MemoryError) or _HOST_MEMORY in str(error):
        return HostOutOfMemory(f"The machine's memory is used up: {error}", hint=need_less)
    return storage_fault(error) or TrainerError(
        f"{type(error).__name__}: {error}",
        hint=f"This is a fault of the {of}; its log has the whole story.",
    )
