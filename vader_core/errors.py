"""What can go wrong in a run, as one tree of classes.

    TrainerError
    |- SpecUnusable        the spec file cannot be read or has faults
    |- CatalogueUnusable   the catalogue file cannot be read or has faults
    |- WeightsUnreadable   a base model's or reward's folder is missing or broken
    |- OutOfMemory         the GPU has too little memory
    |- HostOutOfMemory     the machine has too little memory
    |- RewardNotFinite     a reward gave NaN or infinity
    |- GradientNotFinite   a gradient gave NaN or infinity
    |- Diverged            the training reward fell far below the base model's
    |- CheckpointUnusable  a checkpoint was asked for and none is whole
    |- StartUnusable       what the run is to start from does not fit or is broken
    |- AdapterUnusable     the adapter to sample with does not fit or is broken
    |- StorageFull         the output folder cannot be written
    `- RewardBackendFailed a reward outside this process did not answer, or answered nonsense

Every class has a stable `code` for the job's `error`, an exit status of the trainer process, whose
`fault` it is, and whether a new attempt can help. Free of torch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

EXIT_DONE = 0
EXIT_INTERRUPTED = 3
EXIT_INTERNAL = 70


class TrainerError(Exception):
    """The run cannot go on. The message says what happened, `hint` what would help."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = EXIT_INTERNAL
    fault: ClassVar[Literal["user", "platform"]] = "platform"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, hint: str = "", step: int | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.step = message, hint, step

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.step))


def _rebuild(kind: type[TrainerError], message: str, hint: str, step: int | None) -> TrainerError:
    return kind(message, hint=hint, step=step)


class SpecUnusable(TrainerError):
    """The spec file cannot be read or has faults."""

    code, exit_status, fault, retryable = "spec_unusable", 2, "user", False


class CatalogueUnusable(TrainerError):
    """The catalogue file cannot be read or has faults."""

    code, exit_status, retryable = "catalogue_unusable", 9, False


class WeightsUnreadable(TrainerError):
    """A base model's or reward's folder is missing or broken."""

    code, exit_status, retryable = "weights_unreadable", 10, False


class OutOfMemory(TrainerError):
    """The GPU has too little memory."""

    code, exit_status, fault, retryable = "out_of_memory", 11, "user", False


class HostOutOfMemory(TrainerError):
    """The machine has too little memory, which other processes share: another attempt may find more."""

    code, exit_status = "host_out_of_memory", 20


class RewardNotFinite(TrainerError):
    """A reward gave NaN or infinity."""

    code, exit_status, fault, retryable = "reward_not_finite", 12, "user", False


class GradientNotFinite(TrainerError):
    """A gradient gave NaN or infinity."""

    code, exit_status, fault, retryable = "gradient_not_finite", 13, "user", False


class Diverged(TrainerError):
    """The training reward fell far below the base model's."""

    code, exit_status, fault, retryable = "diverged", 14, "user", False


class CheckpointUnusable(TrainerError):
    """A checkpoint was asked for and none is whole."""

    code, exit_status = "checkpoint_unusable", 15


class StartUnusable(TrainerError):
    """The adapter or state that the run is to start from does not fit or is broken."""

    code, exit_status, fault, retryable = "start_unusable", 18, "user", False


class AdapterUnusable(TrainerError):
    """The adapter that videos are to be made with does not fit its base model or is broken."""

    code, exit_status, fault, retryable = "adapter_unusable", 19, "user", False


class StorageFull(TrainerError):
    """The output folder cannot be written."""

    code, exit_status = "storage_failed", 16


class RewardBackendFailed(TrainerError):
    """A reward outside this process did not answer, or answered nonsense."""

    code, exit_status = "reward_backend_failed", 17
