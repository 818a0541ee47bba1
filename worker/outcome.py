"""What an attempt came to, judged from how its trainer ended. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from domain.job_errors import JobError
from vader_core.lines import Checkpoint, Done, Failed, Interrupted, Repeated, Step, StopReason
from vader_core.spec import Budget
from worker.stopping import Cause

_KILLED = 128


@dataclass(frozen=True)
class Ending:
    """How a trainer ended. `checkpoint` is the newest whole one, also of an earlier attempt.

    `pauses_at_ceilings` is what the budget says, `stopped_by` the budget by which the worker itself asked
    the trainer to stop; `oom_kills` how often the kernel killed processes for
    want of memory while the trainer ran, None where nobody counts.
    """

    exit_status: int
    cause: Cause | None
    killed: bool
    last_step: Step | None
    done: Done | None
    failed: Failed | None
    interrupted: Interrupted | None
    checkpoint: Checkpoint | None
    pauses_at_ceilings: bool = False
    stopped_by: Budget | None = None
    oom_kills: int | None = None

    @property
    def step(self) -> int:
        """The last step that is known to be done."""
        if self.last_step is not None:
            return self.last_step.step
        return self.checkpoint.step if self.checkpoint else 0


@dataclass(frozen=True)
class Succeeded:
    done: Done


@dataclass(frozen=True)
class Cancelled:
    """`done` names the exported adapter; None where the trainer did not get to it or nobody wants it."""

    done: Done | None


@dataclass(frozen=True)
class Paused:
    """To be resumed later; `reason` is "requested" or the ceiling that was reached, `stopped_by` the
    budget in which that stands."""

    reason: str
    stopped_by: Budget | None = None


@dataclass(frozen=True)
class Released:
    """Back to the queue without being charged."""

    reason: str


@dataclass(frozen=True)
class Broken:
    """The attempt failed; the domain decides whether another one follows."""

    error: JobError


Outcome = Succeeded | Cancelled | Paused | Released | Broken


def judge(ending: Ending) -> Outcome:
    """A finished adapter counts even when the process then fell over on its way out."""
    if ending.cause == "discarded":
        return Cancelled(done=None)
    if ending.cause == "cancelled":
        return Cancelled(done=ending.done)
    if ending.done is not None:
        return Succeeded(done=ending.done)
    if ending.failed is not None:
        return Broken(_reported(ending.failed))
    if ending.cause == "paused":
        # Also when it was killed: what its newest checkpoint holds is what the job goes on from.
        return Paused(reason="requested")
    if ending.interrupted is not None and ending.interrupted.ceiling is not None:
        stopped_by = ending.interrupted.budget
        return Paused(reason=ending.interrupted.ceiling, stopped_by=stopped_by)
    if ending.cause == "drained":
        # Also when it was killed or had not come to handling signals: the machine goes away.
        return Released(reason="drained")
    if ending.cause == "hung":
        return Broken(_error(ending, _HUNG))
    if ending.killed and ending.cause in ("gpu_seconds", "wall_clock", "deadline", "cost"):
        return _cut_off(ending, ending.cause)
    return Broken(_unexplained(ending))


def _cut_off(ending: Ending, ceiling: StopReason) -> Outcome:
    if ending.pauses_at_ceilings:
        return Paused(reason=ceiling, stopped_by=ending.stopped_by)
    done = _adapter_of_checkpoint(ending, ceiling)
    return Succeeded(done=done) if done else Broken(_error(ending, _NO_TIME))


def _adapter_of_checkpoint(ending: Ending, stop_reason: StopReason) -> Done | None:
    """What a trainer that did not get to its end would have said: the newest checkpoint's adapter."""
    checkpoint, last = ending.checkpoint, ending.last_step
    if checkpoint is None:
        return None
    counters, path = checkpoint.counters, f"{checkpoint.path}/adapter"
    return Done(
        at=checkpoint.at,
        step=checkpoint.step,
        stop_reason=stop_reason,
        verdict=None,
        reward_queries=last.reward_queries if last else counters.reward_queries,
        evaluation_queries=last.evaluation_queries if last else counters.evaluation_queries,
        repeated=last.repeated if last else Repeated(),
        gpu_seconds=last.gpu_seconds if last else counters.gpu_seconds,
        path=path,
        files=[file for file in checkpoint.files if file.path.startswith(f"{path}/")],
    )


def _reported(failed: Failed) -> JobError:
    return JobError(
        code=failed.code,
        message=failed.message,
        hint=failed.hint,
        fault=failed.fault,
        retryable=failed.retryable,
        step=failed.step,
    )


def _unexplained(ending: Ending) -> JobError:
    if ending.cause is None and ending.exit_status == _KILLED + signal.SIGKILL:
        return _error(ending, _killed_from_outside(ending.oom_kills))
    if ending.exit_status > _KILLED:
        what = f"The trainer was ended by {signal.Signals(ending.exit_status - _KILLED).name}."
    else:
        what = f"The trainer ended with exit status {ending.exit_status} and gave no reason."
    return _error(ending, JobError(code="trainer_crashed", message=what, hint=_SEE_LOG))


_SEE_LOG = "The attempt's log has its last words."
_HUNG = JobError(
    code="trainer_hung",
    message="The trainer gave no sign of life for far longer than a step takes, and was killed.",
    hint="If one step or evaluation batch really takes that long, use smaller videos or batches.",
)
_SMALLER = "Use a smaller batch size, fewer or smaller frames, or a smaller decode_chunk_frames."
_HOST_OOM = JobError(
    code="host_out_of_memory",
    message="The trainer was killed while the machine ran out of memory.",
    hint=_SMALLER,
)
_KILLED_BY_SOMEBODY = JobError(
    code="trainer_killed",
    message="The trainer was killed from outside (SIGKILL), and not for want of memory.",
    hint="Somebody or something on the worker's machine ended it; its system log may say who.",
)
_KILLED_FOR_SOME_REASON = JobError(
    code="trainer_killed",
    message="The trainer was killed from outside (SIGKILL); whether for want of memory is not known here.",
    hint=f"The machine's system log says whether its memory was used up. If it was: {_SMALLER}",
)
_NO_TIME = JobError(
    code="budget_too_small",
    message="A ceiling of the budget was reached before the first checkpoint.",
    hint="Raise the ceiling, or write checkpoints more often (checkpoints.every_steps).",
    fault="user",
    retryable=False,
)


def _killed_from_outside(oom_kills: int | None) -> JobError:
    if oom_kills is None:
        return _KILLED_FOR_SOME_REASON
    return _HOST_OOM if oom_kills else _KILLED_BY_SOMEBODY


def _error(ending: Ending, error: JobError) -> JobError:
    return error.model_copy(update={"step": ending.step})
