"""The command `train` once torch is there: runs the loop and turns every failure into an error line."""

from __future__ import annotations

import logging

import diffusers
import transformers

from vader_core.errors import TrainerError
from vader_core.library_errors import as_trainer_error
from vader_core.loop import train
from vader_core.order import Order, fail
from vader_core.output import Output
from vader_core.stopping import StopFlag

_NEED_LESS = (
    "Lower method.batch_size, method.decode_chunk_frames, the video's size or num_frames, or switch "
    "gradient_checkpointing on."
)

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
        known = as_trainer_error(error, of="trainer", need_less=_NEED_LESS)
        return fail(known, output, order.folder)
