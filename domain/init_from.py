"""What a job starts from: `init_from` of its spec, found, checked against the spec, and kept with the job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import UUID

from pydantic import JsonValue, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from domain import adapter_registry, adapters, budgets
from domain.errors import ArtifactExpired, NotFound, ValidationFailed
from domain.ids import from_public, to_public
from domain.tables import Adapter, Checkpoint, Job, Json
from vader_core.faults import Fault, shape_faults
from vader_core.lines import Counters, EarlyEnd, File
from vader_core.spec import Budget, InitFrom, JobSpec
from vader_core.strict import Strict
from vader_core.training_hash import continuation_fields

_PEFT = ("adapter_model.safetensors", "adapter_config.json")


class Start(Strict):
    """The column `jobs.init_from`: files (paths below the object key `prefix`) and where they come from.

    With state `full` they are a whole checkpoint and `counters` what was used by then; with `weights` they
    are an adapter in PEFT's format. Ids are public ones; `step` is that of the checkpoint or adapter.
    """

    kind: Literal["adapter", "checkpoint"]
    id: str
    state: Literal["weights", "full"]
    job_id: str
    step: int
    prefix: str
    files: list[File]
    counters: Counters | None = None


@dataclass(frozen=True)
class Resolved:
    """`init_from` with aliases replaced by the id, `start` for the job's column; or what is wrong."""

    init_from: InitFrom | None = None
    start: Json | None = None
    faults: list[Fault] = field(default_factory=list)


def resolve(session: Session, *, project_id: UUID, spec: JobSpec, hold: bool) -> Resolved:
    """What the resolved `spec` starts from; nothing for one without `init_from`.

    With `hold`, the job that it comes from is not deleted, and gives up none of its checkpoints, until the
    transaction ends. Faults say what is not there, what is no longer kept, and what does not fit the spec.
    """
    asked = spec.init_from
    if asked is None:
        return Resolved()
    try:
        if asked.checkpoint is not None:
            source = _source(
                session,
                _job_of_checkpoint(session, project_id, asked.checkpoint),
                project_id,
                hold=hold,
            )
            start = of_checkpoint(_kept(session, source, asked.checkpoint), state=asked.state)
        else:
            adapter = adapter_registry.resolve(
                session, project_id=project_id, reference=asked.adapter or ""
            )
            source = _source(session, adapter.job_id, project_id, hold=hold)
            adapter_registry.refuse_deleted(session, adapter)
            start = of_adapter(adapter)
            asked = InitFrom(adapter=start.id)
    except (NotFound, ArtifactExpired) as error:
        place = "checkpoint" if asked.checkpoint is not None else "adapter"
        fault = Fault(pointer=f"/init_from/{place}", code=_CODES[type(error)], detail=error.detail)
        return Resolved(faults=[fault])
    try:
        faults = _misfits(source, readable(source.spec), spec, start)
    except ValidationFailed as error:
        place = f"/init_from/{start.kind}"
        faults = [fault.model_copy(update={"pointer": place}) for fault in error.faults]
    return Resolved(init_from=asked, start=start.model_dump(mode="json"), faults=faults)


def readable(stored: Json) -> JobSpec:
    """The spec that the database has of a job. Raises `ValidationFailed` for one of a version of the service
    that this one can no longer read."""
    try:
        return JobSpec.model_validate(stored)
    except ValidationError as wrong:
        places = ", ".join(fault.pointer for fault in shape_faults(wrong, stored))
        detail = f"This version of the service cannot read the spec of the job before: {places}."
        raise ValidationFailed(
            [Fault(pointer="", code="spec_unusable", detail=detail)], what="job spec"
        ) from wrong


def of_checkpoint(checkpoint: Checkpoint, *, state: Literal["weights", "full"]) -> Start:
    """The start from a checkpoint whose files are still kept."""
    prefix, files = checkpoint.prefix, checkpoint.files
    if state == "weights":
        prefix, files = adapters.adapter_in(checkpoint)
    return Start(
        kind="checkpoint",
        id=to_public("ck", checkpoint.id),
        state=state,
        job_id=to_public("job", checkpoint.job_id),
        step=checkpoint.step,
        prefix=prefix,
        files=[File.model_validate(file) for file in files],
        counters=Counters.model_validate(checkpoint.counters) if state == "full" else None,
    )


def of_adapter(adapter: Adapter) -> Start:
    """The start from an adapter's weights."""
    files = [File.model_validate(file) for file in adapter.files]
    return Start(
        kind="adapter",
        id=to_public("ad", adapter.id),
        state="weights",
        job_id=to_public("job", adapter.job_id),
        step=adapter.step,
        prefix=adapter.prefix,
        files=[file for file in files if file.path.rpartition("/")[2] in _PEFT],
    )


def beginnings(start: Json | None) -> dict[str, Any]:
    """Columns of a new job that count on from what it starts from; none where it counts from 0."""
    if start is None or start["state"] != "full":
        return {}
    return {"step": start["step"], **start["counters"]}


def checkpoints_needed(session: Session, *, project_id: UUID) -> list[UUID]:
    """Checkpoints that jobs of the project start from which have not ended."""
    query = select(Job.init_from["id"].astext).where(
        Job.project_id == project_id,
        Job.finished_at.is_(None),
        Job.init_from["kind"].astext == "checkpoint",
    )
    return [from_public("ck", public_id) for public_id in session.scalars(query)]


def _job_of_checkpoint(session: Session, project_id: UUID, reference: str) -> UUID:
    query = select(Checkpoint.job_id).join(Job, Job.id == Checkpoint.job_id)
    query = query.where(Checkpoint.id == from_public("ck", reference), Job.project_id == project_id)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"There is no checkpoint {reference[:100]!r} in this project.")
    return found


def _kept(session: Session, source: Job, reference: str) -> Checkpoint:
    """The checkpoint as it is now that its job is held: a worker may have given it up until then."""
    query = select(Checkpoint).where(Checkpoint.id == from_public("ck", reference))
    found = session.scalars(query.execution_options(populate_existing=True)).one()
    if found.expired_at is not None or source.deleted_at is not None:
        raise ArtifactExpired(f"The files of {reference} are no longer kept.")
    return found


def _source(session: Session, job_id: UUID, project_id: UUID, *, hold: bool) -> Job:
    query = select(Job).where(Job.id == job_id, Job.project_id == project_id)
    if hold:
        query = query.with_for_update(read=True)
    return session.scalars(query.execution_options(populate_existing=True)).one()


_CODES = {NotFound: "unknown_start", ArtifactExpired: "artifact_expired"}


def _misfits(source: Job, theirs: JobSpec, spec: JobSpec, start: Start) -> list[Fault]:
    if start.state == "weights":
        return _weight_misfits(theirs, spec, start)
    return [
        *_state_misfits(theirs, spec, start),
        *_early_stop_again(source, theirs, spec),
        *budget_faults(spec.budget, start),
    ]


def _weight_misfits(theirs: JobSpec, spec: JobSpec, start: Start) -> list[Fault]:
    """An adapter's weights mean something only in the very places that they were trained in."""
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("/base_model", theirs.base_model, spec.base_model),
        ("/variant", theirs.variant, spec.variant),
        ("/adapter/rank", theirs.adapter.rank, spec.adapter.rank),
        ("/adapter/alpha", theirs.adapter.alpha, spec.adapter.alpha),
        ("/adapter/target_modules", _targets(theirs), _targets(spec)),
    ]
    return [
        Fault(
            pointer=pointer,
            code="does_not_fit_start",
            detail=f"The {start.kind} {start.id} to start from has {old!r}; got {new!r}.",
            nearest=[old],
        )
        for pointer, old, new in pairs
        if old != new
    ]


def _targets(spec: JobSpec) -> list[JsonValue]:
    return [*sorted(spec.adapter.target_modules or [])]


def _state_misfits(theirs: JobSpec, spec: JobSpec, start: Start) -> list[Fault]:
    old, new = continuation_fields(theirs), continuation_fields(spec)
    detail = (
        f"It differs from that of {start.job_id}, whose full state is to be continued. Keep it, or start "
        "from the weights alone (state: weights)."
    )
    places = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    names = {"keeps": "early_stop"}
    return [
        Fault(pointer=f"/{names.get(name, name)}", code="fixed_by_full_state", detail=detail)
        for name in places
    ]


def _early_stop_again(source: Job, theirs: JobSpec, spec: JobSpec) -> list[Fault]:
    """A rule that has ended the training would end it again at once."""
    rule, before = spec.early_stop, theirs.early_stop
    if source.stop_reason not in get_args(EarlyEnd) or rule is None or before is None:
        return []
    if rule.patience_evals > before.patience_evals:
        return []
    detail = f"The job ended by this rule and would again at once: ask for more than {before.patience_evals}."
    pointer = "/early_stop/patience_evals"
    return [Fault(pointer=pointer, code="would_stop_at_once", detail=detail)]


def budget_faults(budget: Budget, start: Start) -> list[Fault]:
    """Ceilings that leave no room: they count what was used before the full state of `start`, too."""
    used = start.counters or Counters()
    limits = [
        ("max_steps", budget.max_steps, start.step),
        ("max_reward_queries", budget.max_reward_queries, used.reward_queries),
        ("max_gpu_seconds", budget.max_gpu_seconds, used.gpu_seconds),
        ("max_wall_clock_s", budget.max_wall_clock_s, used.wall_clock_s),
        # What the money buys, in seconds as what is used.
        ("max_cost", budgets.cost_gpu_seconds(budget), used.gpu_seconds),
    ]
    return [
        Fault(
            pointer=f"/budget/{name}",
            code="used_up",
            detail=f"{start.id} has used it up, and that counts: ask for more.",
        )
        for name, limit, spent in limits
        if limit is not None and limit <= spent
    ]
