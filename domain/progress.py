"""What the trainer's lines change: counters, metrics, evaluations, phase and status, and the events."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain import budgets, db, discarded_steps, events, jobs, metrics, pace, usage
from domain.best_checkpoint import best_evaluation
from domain.ids import new_id
from domain.job_status import Status
from domain.tables import Attempt, Evaluation, Job, Json
from vader_core import lines

# A trainer that was at its end when somebody asked to pause still ends.
_TRAINS = (Status.RUNNING, Status.PAUSING)


def record(session: Session, *, job_id: UUID, attempt: int, lines: Sequence[lines.AnyLine]) -> Job:
    """Takes in a batch of the trainer's lines, in the order they were written.

    Lines about files (sample, sheet, checkpoint) change nothing here: they count when the files are
    stored (`domain.artifacts`); how an attempt ended is told to `domain.claims`. A step of which this
    attempt has told already is left out, so a batch may be sent again. Raises `StaleAttempt`.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    row = session.get_one(Attempt, (job_id, attempt))
    before = usage.spent(job)
    for line in lines:
        job = _taken_in(session, job, row, line)
    usage.add_growth(session, job, since=before)
    _warn_of_budget(session, job, row)
    job.version += 1
    return job


def _taken_in(session: Session, job: Job, attempt: Attempt, line: lines.AnyLine) -> Job:
    match line:
        case lines.Started():
            return _started(session, job, attempt, line)
        case lines.Phase():
            return _phase(session, job, line)
        case lines.Step():
            _step(session, job, attempt, line)
        case lines.EvaluationDone():
            _evaluation(session, job, attempt, line)
        case lines.Warned():
            data: Json = {"code": line.code}
            _tell(session, job, "job.warning", line.message, data, line)
        case lines.Done():
            return _done(session, job, line)
    return job


def _started(session: Session, job: Job, attempt: Attempt, line: lines.Started) -> Job:
    # Told again, it would take back the steps of this very attempt.
    if attempt.number > 1 and attempt.trainer_started_at is None:
        discarded_steps.forget_after(session, job, step=line.step)
    attempt.trainer_started_at = line.at
    attempt.resumed_from_step = line.resumed_from
    attempt.environment = line.model_dump(
        mode="json", include={"device", "precision", "trainable_parameters", "versions"}
    )
    if job.status != Status.STARTING:
        return job
    return jobs.move(session, job.id, to=Status.RUNNING, attempt=attempt.number)


def _phase(session: Session, job: Job, line: lines.Phase) -> Job:
    if line.phase == "exporting" and job.status in _TRAINS:
        return jobs.move(session, job.id, to=Status.FINALIZING, attempt=job.attempt)
    if line.phase == "training":
        _evaluation_was_not_the_last(session, job)
    if job.status == Status.RUNNING and job.phase != line.phase:
        job.phase = line.phase
        data: Json = {"status": job.status, "phase": line.phase}
        _tell(session, job, "job.phase_changed", f"Now {line.phase}.", data, line)
    return job


def _evaluation_was_not_the_last(session: Session, job: Job) -> None:
    """A ceiling was raised during the final evaluation, and steps follow it: it counts as a periodic one."""
    if job.evaluation is None or job.evaluation["kind"] != "final":
        return
    job.evaluation = {**job.evaluation, "kind": "periodic"}
    finals = Evaluation.job_id == job.id, Evaluation.kind == "final"
    for row in session.scalars(select(Evaluation).where(*finals)).all():
        if _has_periodic(session, row):
            session.delete(row)
        else:
            row.kind, row.data = "periodic", {**row.data, "kind": "periodic"}
    job.best_evaluation = best_evaluation(session, job_id=job.id)


def _has_periodic(session: Session, final: Evaluation) -> bool:
    query = select(Evaluation.id).where(
        Evaluation.job_id == final.job_id,
        Evaluation.kind == "periodic",
        Evaluation.step == final.step,
    )
    return session.scalar(query) is not None


def _step(session: Session, job: Job, attempt: Attempt, line: lines.Step) -> None:
    if line.step <= attempt.last_step:
        return
    attempt.last_step = line.step
    job.step = max(job.step, line.step)
    _count_queries(job, line)
    _count(job, gpu_seconds=line.gpu_seconds)
    job.latest_metrics = line.model_dump(mode="json")
    numbers = {
        name: float(getattr(line, name))
        for name in (
            *("loss", "reward", "reward_std", "penalty", "grad_norm", "learning_rate"),
            *("seconds", "peak_memory_bytes", "denoiser_forwards"),
        )
    }
    numbers |= {f"reward.{name}": value for name, value in line.rewards.items()}
    numbers |= {f"method.{name}": value for name, value in line.figures.items()}
    metrics.put(session, place=_place(job, attempt, line), values=numbers)
    message = f"Step {line.step} of {job.steps_total}: reward {line.reward:.4f}."
    _tell(session, job, "job.metric", message, job.latest_metrics, line)


def _evaluation(session: Session, job: Job, attempt: Attempt, line: lines.EvaluationDone) -> None:
    _count_queries(job, line)
    # The scores of single pairs are for comparisons: neither the job nor its events carry them.
    data = line.model_dump(mode="json", exclude={"scores"})
    scores = [score.model_dump(mode="json") for score in line.scores]
    job.evaluation = data
    values = {
        "attempt": attempt.number,
        "heldout_reward": line.heldout_reward,
        "verdict": line.verdict,
        "data": {**data, "scores": scores},
    }
    row = insert(Evaluation).values(
        id=new_id(), job_id=job.id, kind=line.kind, step=line.step, **values
    )
    place = [Evaluation.job_id, Evaluation.kind, Evaluation.step]
    session.execute(row.on_conflict_do_update(index_elements=place, set_=values))
    job.best_evaluation = best_evaluation(session, job_id=job.id)
    numbers = {"heldout_reward": line.heldout_reward, **_means_by_reward(line)}
    if line.difference is not None:
        numbers["heldout_delta"] = line.difference.delta
    # A restored adapter was measured at its own step already; at this one stands the adapter that was left.
    if line.adapter_step is None:
        metrics.put(session, place=_place(job, attempt, line), values=numbers)
    message = f"Held-out reward {line.heldout_reward:.4f} over {line.pairs} pairs."
    needed = line.pairs_needed
    if needed is not None and needed.pairs is not None:
        message += f" About {needed.pairs} pairs for an interval of +-{needed.half_width:.4f}."
    _tell(session, job, "job.evaluation_done", message, data, line)
    for guard in line.guards:
        if not guard.ok:
            fell = f"{guard.reward} fell further than its guard allows."
            _tell(session, job, "job.guard_warning", fell, guard.model_dump(mode="json"), line)


def _means_by_reward(line: lines.EvaluationDone) -> dict[str, float]:
    """The held-out mean of every reward by itself, as metrics are called."""
    scores: dict[str, list[float]] = {}
    for pair in line.scores:
        for name, score in pair.rewards.items():
            scores.setdefault(f"heldout_reward.{name}", []).append(score)
    return {key: statistics.fmean(values) for key, values in scores.items()}


def _done(session: Session, job: Job, line: lines.Done) -> Job:
    _count_queries(job, line)
    _count(job, gpu_seconds=line.gpu_seconds)
    job.step = max(job.step, line.step)
    if job.status in _TRAINS:
        return jobs.move(session, job.id, to=Status.FINALIZING, attempt=job.attempt)
    return job


def _count_queries(job: Job, line: lines.Step | lines.EvaluationDone | lines.Done) -> None:
    _count(
        job,
        reward_queries=line.reward_queries + line.repeated.reward_queries,
        evaluation_queries=line.evaluation_queries + line.repeated.evaluation_queries,
    )


def _count(job: Job, **totals: float) -> None:
    """Counters only grow: what an attempt spends that starts from an older checkpoint is spent too."""
    for name, total in totals.items():
        setattr(job, name, max(getattr(job, name), total))


def _place(job: Job, attempt: Attempt, line: lines.Step | lines.EvaluationDone) -> Json:
    # Both times are of the worker's clock, so the difference means something.
    began = attempt.trainer_started_at or line.at
    return {
        "job_id": job.id,
        "step": line.step,
        "attempt": attempt.number,
        # What led to this point: of steps that were done again, once.
        "reward_queries": line.reward_queries,
        "gpu_seconds": job.gpu_seconds,
        "wall_s": job.wall_clock_s + (line.at - began) / timedelta(seconds=1),
        "at": line.at,
    }


def _warn_of_budget(session: Session, job: Job, attempt: Attempt) -> None:
    """One warning for each ceiling of which most is used, and another after it was raised."""
    used = budgets.usage(job, attempt, now=db.utc_now())
    for ceiling in used.to_warn_of():
        if ceiling.name in job.warned_ceilings:
            continue
        job.warned_ceilings = [*job.warned_ceilings, ceiling.name]
        fraction = ceiling.fraction or 0.0
        stop_in_s = used.seconds_left.get(ceiling.name)
        at_stop = None if stop_in_s is None else pace.steps_at_stop(job, stop_in_s)
        events.append(
            session,
            job_id=job.id,
            type="job.budget_warning",
            message=f"{fraction:.0%} of {ceiling.name} is used{_outlook(job, stop_in_s, at_stop)}.",
            data={
                "ceiling": ceiling.name,
                "limit": ceiling.limit,
                "used": ceiling.used,
                "fraction": fraction,
                "expected_steps_at_stop": at_stop,
            },
        )


def _outlook(job: Job, stop_in_s: float | None, at_stop: int | None) -> str:
    if stop_in_s is None or at_stop is None:
        return ""
    short = job.steps_total - at_stop
    if short <= 0:
        return "; max_steps is expected to come before it"
    return (
        f"; expected to end there in {pace.in_words(stop_in_s)}, {short} steps short of max_steps"
    )


def _tell(
    session: Session, job: Job, kind: str, message: str, data: Json | None, line: lines.Line
) -> None:
    events.append(session, job_id=job.id, type=kind, message=message, data=data, step=line.step)
