"""What the trainer was asked to do, and how it says that it cannot. Free of torch."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vader_core import checkpoints, lines
from vader_core.catalogue import Catalogue
from vader_core.ceilings import Spent, utc_now
from vader_core.errors import StorageFull, TrainerError
from vader_core.output import Output
from vader_core.run_folder import RunFolder
from vader_core.spec import JobSpec

_STORAGE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """A folder to start from: an adapter's (`weights`), or a checkpoint's of another run (`full`)."""

    folder: Path
    state: Literal["weights", "full"]


@dataclass(frozen=True)
class Order:
    """One call of the trainer. `spec` is resolved, `images` the folder of the prompts' first images;
    `started` is the process's first `time.monotonic()`. `start` counts where there is no checkpoint of
    the run itself."""

    spec: JobSpec
    catalogue: Catalogue
    images: Path
    folder: RunFolder
    resume: bool
    device: str
    threads: int | None
    spent: Spent
    started: float
    start: Start | None = None


def storage_fault(error: Exception) -> StorageFull | None:
    """`error` as the trainer names it when the output folder is to blame, else None."""
    if isinstance(error, OSError):
        is_ours = error.errno in _STORAGE_FAULTS
    else:
        # safetensors has an exception of its own, with the system's text but not its number.
        is_ours = any(os.strerror(number) in str(error) for number in _STORAGE_FAULTS)
    if not is_ours:
        return None
    return StorageFull(
        f"The output folder cannot be written: {error}",
        hint="Free space or name a folder on another disk, then go on with --resume.",
    )


def fail(error: TrainerError, output: Output, folder: RunFolder) -> int:
    """Sends the error line; the exit status of `error`."""
    last = checkpoints.newest(folder.checkpoints)
    output.emit(
        lines.Failed(
            at=utc_now(),
            step=output.last_step if error.step is None else error.step,
            code=error.code,
            message=error.message,
            hint=error.hint,
            fault=error.fault,
            retryable=error.retryable,
            last_checkpoint=last.relative_to(folder.root).as_posix() if last else None,
        )
    )
    _log.error("%s: %s", error.code, error.message)
    return error.exit_status
