"""Jobs that follow an ended one: what a retry and an extension are made of.

The ended job is never changed: its successor is a new job that starts from what the first one left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field, JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from domain import artifacts, best_checkpoint, capacity, init_from, jobs, quotas, workers
from domain.callers import Origin
from domain.capacity import Need
from domain.errors import InvalidTransition, NotFound, ValidationFailed
from domain.ids import from_public, to_public
from domain.init_from import Start
from domain.job_status import allowed_actions
from domain.jobs import Ties
from domain.merge_patch import merged
from domain.settings import get_settings
from domain.similar_runs import same_memory
from domain.tables import Checkpoint, Job, Json
from vader_core.faults import Fault
from vader_core.lines import Counters
from vader_core.moment import Moment
from vader_core.spec import MONEY_PLACES, InitFrom, JobSpec, Money, Seconds
from vader_core.strict import Strict

_NOT_OVERRIDDEN = {
    "budget": "Say in `add_budget` what the new job may use.",
    "init_from": "`from` and `state` say what the new job starts from.",
    "name": "The new job's name stands beside `overrides`.",
    "notify": "It stands beside `overrides`.",
    "expect": "It stands beside `overrides`.",
    "template": "The new job has the spec of the one that it extends.",
    "overrides": "They are not nested.",
}
_COUNTED = ("reward_queries", "gpu_seconds", "wall_clock_s")


class AddBudget(Strict):
    """What the new job may use. Counts and seconds are added to what was used by then; with state `weights`
    nothing was. Ceilings that are left out stay as they are; null takes one away. `deadline_at`,
    `max_queue_s` and `on_exhausted` are set."""

    max_steps: int = Field(default=1, ge=1, le=2**31)
    max_reward_queries: int | None = Field(default=None, ge=1, le=2**53)
    max_gpu_seconds: Seconds | None = None
    max_wall_clock_s: Seconds | None = None
    deadline_at: Moment | None = None
    max_queue_s: Seconds | None = None
    max_cost: Money | None = None
    on_exhausted: Literal["finish", "pause"] = "finish"


class Retrial(Strict):
    """How a failed job is tried again: as it was, but for a deadline, which may have passed. Null takes it
    away; left out, it stays."""

    deadline_at: Moment | None = None


class Extension(Strict):
    """How a job goes on: `from` its best or last checkpoint or one by its id, with its full state or its
    weights alone; `overrides` are a JSON merge patch (RFC 7396) onto its spec."""

    start: str = Field(default="best", alias="from", pattern="^(best|last|ck_.{1,100})$")
    state: Literal["full", "weights"] = "full"
    add_budget: AddBudget = AddBudget()
    overrides: dict[str, JsonValue] = {}
    name: str | None = Field(default=None, max_length=200)


@dataclass(frozen=True)
class Extended:
    """What an extension asks for: the `document` of a new job, and `faults` of the extension itself."""

    document: Json
    faults: list[Fault] = field(default_factory=list)


def source(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """The job that is to be followed, held until the transaction ends. Raises `NotFound`."""
    query = select(Job).where(Job.id == job_id, Job.project_id == project_id)
    job = session.scalar(query.with_for_update(read=True).execution_options(populate_existing=True))
    if job is None:
        raise NotFound(f"There is no job {to_public('job', job_id)!r} in this project.")
    return job


def ties_of(job: Job, kind: Literal["retry", "extend"], start: Json | None) -> Ties:
    """How the successor of `job` hangs on it, and on what `job` hung on."""
    return Ties(
        template=job.template,
        notify=job.notify,
        parent_job_id=job.id,
        parent_kind=kind,
        init_from=start,
    )


def retried_document(job: Job, asked: Retrial) -> Json:
    """What stands in the spec of the job that retries `job`, but for what it starts from.

    Schedules reach over the steps of the spec; the rest of the budget is as somebody may have changed it.
    """
    budget = {**job.budget, "max_steps": job.spec["budget"]["max_steps"]}
    if "deadline_at" in asked.model_fields_set:
        budget |= asked.model_dump(mode="json", include={"deadline_at"})
    return {**job.spec, "budget": budget, "init_from": None}


def retry(session: Session, job: Job, *, origin: Origin, asked: Retrial | None = None) -> Job:
    """A new job of the same spec and present budget that goes on from the newest checkpoint of `job`.

    Without a checkpoint it begins where `job` began. Raises `InvalidTransition` for a job that did not
    fail, whose files were deleted, or that would fail the same way again, `ValidationFailed` where what it
    starts from is gone or this version of the service cannot read the spec, `DoesNotFitGpu` where no worker
    has the memory that it is known to need, and what `jobs.create` and `quotas.check_new_job` raise: a
    deadline may have passed.
    """
    _require(job, "retry", "Only a failed job can be retried.")
    checkpoint = _newest(session, job.id)
    if checkpoint is None and not (job.error or {}).get("retryable", False):
        raise _refused(job, "It failed for good, before its first checkpoint: correct its spec.")
    asked = asked or Retrial()
    spec = init_from.readable(retried_document(job, asked))
    begin = _where_it_began(job) if checkpoint is None else _from_full_state(checkpoint)
    begun = init_from.resolve(
        session,
        project_id=job.project_id,
        spec=spec.model_copy(update={"init_from": begin}),
        hold=True,
    )
    # It has the budget of `job`, however much of that is left.
    if wrong := [fault for fault in begun.faults if fault.code != "used_up"]:
        raise ValidationFailed(wrong, what="job spec")
    # With what was learnt of it where it ran out of memory.
    need = Need(job.least_gib, job.peak_gib)
    capacity.refuse_too_large(need, workers.living(session))
    quotas.check_new_job(session, job.project_id)
    made = jobs.create(
        session,
        spec=spec.model_copy(update={"init_from": begun.init_from}),
        asked_spec=job.asked_spec,
        origin=origin,
        ties=ties_of(job, "retry", begun.start),
        need=need,
    )
    made.steps_total = job.budget["max_steps"]
    made.budget = {**made.budget, "max_steps": made.steps_total}
    session.flush()
    session.refresh(made)
    return made


def extended_need(session: Session, job: Job, spec: JobSpec, estimate: Need) -> Need:
    """What the extension of `job` with the resolved `spec` needs: its `estimate`, and what was learnt of `job`
    where that holds for it. Raises `DoesNotFitGpu`."""
    if job.least_gib is None:
        return estimate
    its = init_from.readable(job.spec)
    same_model = (its.base_model, its.variant) == (spec.base_model, spec.variant)
    if not (same_model and same_memory(its, spec)):
        return estimate
    need = Need(max(job.least_gib, estimate.least or 0.0), estimate.peak)
    capacity.refuse_too_large(need, workers.living(session))
    return need


def _from_full_state(checkpoint: Checkpoint) -> InitFrom:
    return InitFrom(checkpoint=to_public("ck", checkpoint.id), state="full")


def _where_it_began(job: Job) -> InitFrom | None:
    return None if job.init_from is None else InitFrom.model_validate(job.spec["init_from"])


def extension(session: Session, job: Job, asked: Extension) -> Extended:
    """The document of the job that extends `job` as `asked`. Pointers of faults lead into the extension.

    Raises `InvalidTransition` for a job that has not ended, or that left nothing to go on from.
    """
    _require(job, "extend", "Only an ended job can be extended.")
    start, faults = _start(session, job, asked)
    faults += [
        Fault(pointer=f"/overrides/{name}", code="not_overridden", detail=detail)
        for name, detail in _NOT_OVERRIDDEN.items()
        if name in asked.overrides
    ]
    kept = {name: value for name, value in job.spec.items() if name not in _NOT_OVERRIDDEN}
    patch = {name: value for name, value in asked.overrides.items() if name not in _NOT_OVERRIDDEN}
    spec = merged(kept, patch)
    assert isinstance(spec, dict)
    spec["name"] = job.name if asked.name is None else asked.name
    spec["budget"] = _budget(job, asked.add_budget, start)
    if start is not None:
        spec["init_from"] = {start.kind: start.id, "state": start.state}
    return Extended(spec, faults)


def _start(session: Session, job: Job, asked: Extension) -> tuple[Start | None, list[Fault]]:
    if asked.start == "best":
        found = best_checkpoint.best(session, job_id=job.id)
    elif asked.start == "last":
        found = _newest(session, job.id)
    else:
        return _by_id(session, job, asked)
    if found is not None:
        return init_from.of_checkpoint(found, state=asked.state), []
    adapter = artifacts.adapter_of(session, job_id=job.id)
    if adapter is None:
        raise _refused(job, "It left neither a checkpoint nor an adapter to go on from.")
    if asked.state == "weights":
        return init_from.of_adapter(adapter), []
    detail = "No checkpoint of the job is kept: only the weights of its adapter are there."
    return None, [Fault(pointer="/state", code="no_checkpoint", detail=detail, nearest=["weights"])]


def _by_id(session: Session, job: Job, asked: Extension) -> tuple[Start | None, list[Fault]]:
    detail = f"{to_public('job', job.id)} has no checkpoint {asked.start[:100]!r}."
    try:
        checkpoint = session.get(Checkpoint, from_public("ck", asked.start))
    except NotFound:
        checkpoint = None
    if checkpoint is None or checkpoint.job_id != job.id:
        return None, [Fault(pointer="/from", code="unknown_start", detail=detail)]
    if checkpoint.expired_at is not None:
        detail = f"The files of {asked.start} were given up for newer ones."
        return None, [Fault(pointer="/from", code="artifact_expired", detail=detail)]
    return init_from.of_checkpoint(checkpoint, state=asked.state), []


def _budget(job: Job, asked: AddBudget, start: Start | None) -> Json:
    """The new job's ceilings: what was used by the start, which counts on, and what is added."""
    used = (start.counters if start else None) or Counters()
    steps = start.step if start and start.state == "full" else 0
    given = asked.model_dump(mode="json", include=asked.model_fields_set)
    budget: Json = {**job.budget, **given}
    if "max_steps" in given:
        budget["max_steps"] = steps + asked.max_steps
    for name in _COUNTED:
        added = given.get(f"max_{name}")
        if added is not None:
            budget[f"max_{name}"] = getattr(used, name) + added
    if asked.max_cost is not None:
        spent = get_settings().gpu_second_price * Decimal(str(used.gpu_seconds))
        amount = round(asked.max_cost.amount + spent, MONEY_PLACES)
        budget["max_cost"] = {"amount": str(amount), "currency": asked.max_cost.currency}
    return budget


def _newest(session: Session, job_id: UUID) -> Checkpoint | None:
    query = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.expired_at.is_(None))
    return session.scalar(query.order_by(Checkpoint.step.desc()).limit(1))


def _require(job: Job, action: str, rule: str) -> None:
    if action not in allowed_actions(job.status):
        raise _refused(job, rule)
    if job.deleted_at is not None:
        raise _refused(job, "The job and what it left were deleted.")


def _refused(job: Job, why: str) -> InvalidTransition:
    actions = [] if job.deleted_at is not None else allowed_actions(job.status)
    return InvalidTransition(
        f"The job is {job.status!r}. {why}", current_status=job.status, allowed_actions=actions
    )
