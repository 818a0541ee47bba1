"""The command `train` once torch is there: runs the loop and turns every failure into an error line."""

from __future__ import annotations

import logging

import diffusers
import torch
import transformers

from vader_core.errors import OutOfMemory, TrainerError
from vader_core.loop import train
from vader_core.order import Order, fail, storage_fault
from vader_core.output import Output
from vader_core.stopping import StopFlag

# What torch says when the host has no memory left; it has no class of its own for that.
_HOST_MEMORY = "can't allocate memory"

_log = logging.getLogger(__name__)


def run(order: Order, *, stop: StopFlag, output: Output) -> int:
    """The exit status. Whatever goes wrong is said in one `error` line."""
    for library in (diffusers, transformers):
        # Bars are for terminals; in a log file they hide what matters.
        library.utils.logging.disable_progress_bar()
    try:
        return train(order, stop=stop, output=output)
    except TrainerError as error:
        return fail(error, output, order.folder)
    except Exception as error:
        _log.exception("The run ends.")
        return fail(as_trainer_error(error), output, order.folder)


def as_trainer_error(error: Exception) -> TrainerError:
    """The trainer's own error for what the libraries below raise."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _HOST_MEMORY in str(error):
        return OutOfMemory(
            f"Memory is used up: {error}",
            hint="Lower method.batch_size, method.decode_chunk_frames, the video's size or "
            "num_frames, or switch gradient_checkpointing on.",
        )
    return storage_fault(error) or TrainerError(
        f"{type(error).__name__}: {error}",
        hint="This is a fault of the trainer; its log has the whole story.",
    )
