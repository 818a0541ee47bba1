"""Quotas of projects: running and queued jobs, GPU-seconds and generations a month, stored bytes, templates.

Months are those of UTC. What is not set for a project is as the settings say; None is no limit.
Running jobs and spent GPU-seconds keep queued jobs waiting, the latter generations and scorings too, and
what is left of the month's GPU-seconds is a ceiling of jobs that run (`domain.claims`); everything else
refuses new work.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, SelectBase, SQLColumnExpression, column, func, select, table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from domain import usage
from domain.access_tables import ProjectQuota, StoredBytes, UsageEntry
from domain.db import utc_now
from domain.errors import ProjectQuotaExhausted
from domain.job_status import HELD, Status
from domain.settings import get_settings
from domain.tables import Job, Project
from domain.template_tables import JobTemplate, JobTemplateVersion

NAMES = (
    *("running_jobs", "queued_jobs", "gpu_seconds_a_month", "storage_bytes"),
    *("generations_a_month", "templates", "template_versions"),
)
_MONTHLY = frozenset({"gpu_seconds_a_month", "generations_a_month"})
_WAITING = (Status.QUEUED, Status.PAUSED)
_OF_TEMPLATES = {
    "templates": select(func.count(JobTemplate.id)).where(JobTemplate.archived_at.is_(None)),
    # Archived ones can be read for ever, so they count.
    "template_versions": select(func.count()).select_from(JobTemplateVersion).join(JobTemplate),
}
HeldBack = Literal["project_concurrency", "quota"]
_HOLDS_BACK: dict[str, HeldBack] = {
    "running_jobs": "project_concurrency",
    "gpu_seconds_a_month": "quota",
}
_generations = table("generations", column("project_id"), column("created_at"))


@dataclass(frozen=True)
class Quota:
    """One quota of a project. `limit` None: not limited. `resets_at` None: it frees up otherwise."""

    name: str
    limit: int | None
    used: float
    resets_at: datetime | None

    @property
    def left(self) -> float | None:
        """What may still be used, at least 0; None where nothing is limited."""
        return None if self.limit is None else max(self.limit - self.used, 0)


@dataclass(frozen=True)
class Limits:
    """What a project may use; None: no limit."""

    running_jobs: int | None
    queued_jobs: int | None
    gpu_seconds_a_month: int | None
    storage_bytes: int | None
    generations_a_month: int | None
    templates: int | None
    template_versions: int | None


def limits(session: Session, project_id: UUID) -> Limits:
    """The project's own limits, completed by the settings' defaults."""
    own = session.get(ProjectQuota, project_id)
    given = {name: None if own is None else getattr(own, name) for name in NAMES}
    return Limits(**{name: _default(name) if v is None else v for name, v in given.items()})


def set_limits(session: Session, project_id: UUID, **changes: int | None) -> Limits:
    """Sets the named limits of the project; None: as the settings say. The others stay."""
    row = insert(ProjectQuota).values(project_id=project_id, **changes)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[ProjectQuota.project_id],
            set_={**changes, "updated_at": func.clock_timestamp()},
        )
    )
    session.expire_all()
    return limits(session, project_id)


def state(session: Session, project_id: UUID) -> dict[str, Quota]:
    """Every quota by its name, with what is used of it now."""
    limited = asdict(limits(session, project_id))
    resets_at = _next_month(utc_now())
    return {
        name: Quota(
            name=name,
            limit=limited[name],
            used=_used(session, project_id, name),
            resets_at=resets_at if name in _MONTHLY else None,
        )
        for name in NAMES
    }


def check_new_job(session: Session, project_id: UUID) -> None:
    """Raises `ProjectQuotaExhausted` unless the project may add a job to the queue.

    Call it in the transaction that creates the job: until that ends, no other can create one of this
    project, so the limit holds exactly.
    """
    _check(session, project_id, ("queued_jobs", "gpu_seconds_a_month", "storage_bytes"))


def check_new_generation(session: Session, project_id: UUID) -> None:
    """As `check_new_job`, for a generation."""
    _check(session, project_id, ("generations_a_month", "gpu_seconds_a_month", "storage_bytes"))


def check_new_scoring(session: Session, project_id: UUID) -> None:
    """As `check_new_job`, for a reward that is tried on videos."""
    _check(session, project_id, ("gpu_seconds_a_month",))


def check_new_template(session: Session, project_id: UUID) -> None:
    """As `check_new_job`, for a job template in its first version."""
    _check(session, project_id, ("templates", "template_versions"))


def check_new_template_version(session: Session, project_id: UUID) -> None:
    """As `check_new_job`, for a further version of a job template."""
    _check(session, project_id, ("template_versions",))


def check_storage(session: Session, project_id: UUID) -> None:
    """Raises `ProjectQuotaExhausted` when the project has stored as much as it may."""
    _check(session, project_id, ("storage_bytes",))


def may_start() -> ColumnElement[bool]:
    """SQL: whether quotas let a job of this row's project start now. For queries over `Job`.

    It is evaluated once a query, not once a row. Two claims at once can both see room for one: take
    `has_room` before the second counts.
    """
    return Job.project_id.not_in(_full()) & may_spend(Job.project_id)


def may_spend(project_id: SQLColumnExpression[UUID]) -> ColumnElement[bool]:
    """SQL: whether the project has GPU-seconds left this month. It is evaluated once a query."""
    return project_id.not_in(_spent())


def has_room(session: Session, project_id: UUID) -> bool:
    """Whether the project may start one more job, holding its turn until the transaction ends.

    For a claim that has found a job by `may_start`: no other claim of this project is between its look
    and its commit then. Where another one is, this is False at once: nobody waits for a turn. A project
    without limits needs none.
    """
    limited = limits(session, project_id)
    if limited.running_jobs is None and limited.gpu_seconds_a_month is None:
        return True
    turn = select(func.pg_try_advisory_xact_lock(_lock(project_id, "claim")))
    return bool(session.scalar(turn)) and waiting_reason(session, project_id) is None


def gpu_seconds_left(session: Session, project_id: UUID) -> float | None:
    """The GPU-seconds that the project may still use this month, at least 0; None where nothing is limited."""
    limit = limits(session, project_id).gpu_seconds_a_month
    if limit is None:
        return None
    return max(limit - usage.gpu_seconds_this_month(session, project_id), 0.0)


def is_spent(session: Session, project_id: UUID) -> bool:
    """Whether the project has no GPU-seconds left this month."""
    left = gpu_seconds_left(session, project_id)
    return left is not None and left <= 0


def waiting_reason(session: Session, project_id: UUID) -> HeldBack | None:
    """Why queued jobs of the project cannot start: `project_concurrency`, `quota` or None."""
    limited = limits(session, project_id)
    for name, reason in _HOLDS_BACK.items():
        limit = getattr(limited, name)
        if limit is not None and _used(session, project_id, name) >= limit:
            return reason
    return None


def _check(session: Session, project_id: UUID, names: tuple[str, ...]) -> None:
    limited = asdict(limits(session, project_id))
    if all(limited[name] is None for name in names):
        return
    session.execute(select(func.pg_advisory_xact_lock(_lock(project_id, "create"))))
    for name in names:
        limit = limited[name]
        if limit is None:
            continue
        used = _used(session, project_id, name)
        if used >= limit:
            raise _exhausted(name, limit, used)


def _exhausted(name: str, limit: int, used: float) -> ProjectQuotaExhausted:
    resets_at = _next_month(utc_now()).isoformat() if name in _MONTHLY else None
    if resets_at:
        then = f"It resets at {resets_at}."
    elif name == "template_versions":
        then = "Versions are kept for ever: have the quota raised."
    else:
        then = "End or remove something to go on."
    return ProjectQuotaExhausted(
        f"{used:g} of {limit} {name} are used. {then}",
        quota=name,
        limit=limit,
        used=used,
        resets_at=resets_at,
    )


def _used(session: Session, project_id: UUID, name: str) -> float:
    if name == "gpu_seconds_a_month":
        return usage.gpu_seconds_this_month(session, project_id)
    if name == "storage_bytes":
        stored = func.coalesce(func.sum(StoredBytes.size_bytes), 0)
        return int(session.scalar(select(stored).where(StoredBytes.project_id == project_id)) or 0)
    if name == "generations_a_month":
        this_month = _generations.c.created_at >= usage.month_start()
        counted = select(func.count()).select_from(_generations)
        query = counted.where(_generations.c.project_id == project_id, this_month)
        return session.scalar(query) or 0
    if name in _OF_TEMPLATES:
        return session.scalar(_OF_TEMPLATES[name].where(JobTemplate.project_id == project_id)) or 0
    wanted = HELD if name == "running_jobs" else _WAITING
    query = select(func.count()).where(
        Job.project_id == project_id, Job.finished_at.is_(None), Job.status.in_(wanted)
    )
    return session.scalar(query) or 0


def _full() -> SelectBase:
    """The projects that run as many jobs as they may."""
    running = aliased(Job)
    limit = func.coalesce(func.max(ProjectQuota.running_jobs), _default("running_jobs"))
    query = (
        select(running.project_id)
        .outerjoin(ProjectQuota, ProjectQuota.project_id == running.project_id)
        .where(running.finished_at.is_(None), running.status.in_(HELD))
        .group_by(running.project_id)
        .having(func.count() >= limit)
    )
    # A limit of zero stops a project of which nothing runs.
    return query.union(select(ProjectQuota.project_id).where(ProjectQuota.running_jobs == 0))


def _spent() -> SelectBase:
    """The projects that have used up this month's GPU-seconds, or have none at all."""
    limit = func.coalesce(
        func.max(ProjectQuota.gpu_seconds_a_month), _default("gpu_seconds_a_month")
    )
    used_up = (
        select(UsageEntry.project_id)
        .outerjoin(ProjectQuota, ProjectQuota.project_id == UsageEntry.project_id)
        .where(UsageEntry.day >= usage.month_start())
        .group_by(UsageEntry.project_id)
        .having(func.sum(UsageEntry.gpu_seconds) >= limit)
    )
    own = select(ProjectQuota.project_id)
    without = [own.where(ProjectQuota.gpu_seconds_a_month == 0)]
    if _default("gpu_seconds_a_month") == 0:
        limited = own.where(ProjectQuota.gpu_seconds_a_month.is_not(None))
        without.append(select(Project.id).where(Project.id.not_in(limited)))
    return used_up.union(*without)


def _default(name: str) -> int | None:
    default: int | None = getattr(get_settings(), f"quota_{name}")
    return default


def _next_month(now: datetime) -> datetime:
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return datetime(year, month, 1, tzinfo=UTC)


def _lock(project_id: UUID, purpose: str) -> int:
    digest = hashlib.sha256(b"quota " + project_id.bytes + purpose.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
