"""Jobs that have run: what estimates go by."""

from __future__ import annotations

from typing import Any

from domain import artifacts, db, workers
from domain.job_status import Status
from domain.tables import Job
from tests import lives, trainer_lines

HARDWARE = "cpu x2"
BESIDES_S = 3.0


def ran(*, steps: int = 20, step_s: float = 2.0, hardware: str = HARDWARE, **changes: Any) -> Job:
    """A job that took `steps` of `step_s` seconds, twice 4 evaluated videos of a quarter of a second, and
    `BESIDES_S` besides in the trainer; its attempt held the worker for no time."""
    lives.waiting(**{"budget": {"max_steps": steps}, **changes})
    claim = lives.claimed(hardware=hardware)
    total_s = steps * step_s + 2.0 + BESIDES_S
    done = trainer_lines.done(step=steps).model_copy(update={"gpu_seconds": total_s})
    lives.told(
        claim,
        trainer_lines.started(),
        trainer_lines.phase("training"),
        trainer_lines.evaluation(kind="base", step=0),
        *(
            trainer_lines.step(number, seconds=step_s, gpu_seconds=1.0 + number * step_s)
            for number in range(1, steps + 1)
        ),
        trainer_lines.evaluation(step=steps),
        done,
    )
    prefix = artifacts.attempt_prefix(claim.job_id, claim.attempt)
    with db.transaction() as session:
        artifacts.add_adapter(
            session,
            job_id=claim.job_id,
            attempt=claim.attempt,
            line=done,
            prefix=f"{prefix}/adapter",
        )
    return lives.ended(claim, Status.SUCCEEDED)


def alive(hardware: str = HARDWARE, *, name: str = "worker-1") -> None:
    """A worker that has just shown a sign of life."""
    with db.transaction() as session:
        workers.beat(session, worker=name, hardware=hardware)
