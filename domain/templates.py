"""Job templates: named starts for jobs, in versions that never change.

A job keeps the spec that it was made from, so what happens to a template later does not touch it.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue, ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from domain import quotas
from domain.callers import Origin
from domain.errors import Conflict, NotFound
from domain.ids import from_public, new_id, to_public
from domain.pages import Page, page
from domain.tables import Json
from domain.template_tables import JobTemplate, JobTemplateVersion
from vader_core.faults import Fault, shape_faults
from vader_core.spec import JobSpec


@dataclass(frozen=True)
class Content:
    """What a version of a template says; `spec` is a part of a job spec, or the whole of one."""

    name: str
    description: str
    spec: Json


@dataclass(frozen=True)
class Found:
    """One version of a template. `reference` is what a job that was made from it names: "tpl_...@2"."""

    template: JobTemplate
    version: JobTemplateVersion

    @property
    def reference(self) -> str:
        return f"{to_public('tpl', self.template.id)}@{self.version.version}"

    @property
    def content(self) -> Content:
        return Content(self.template.name, self.version.description, self.version.spec)


def spec_faults(spec: JsonValue) -> list[Fault]:
    """What no override can put right in a template's spec: unknown fields and values of a wrong type.

    What is missing may be given by overrides, so it is looked at when a job is made.
    """
    try:
        JobSpec.model_validate(spec)
    except ValidationError as error:
        return [fault for fault in shape_faults(error, spec) if not _may_be_added(fault, spec)]
    return []


def _may_be_added(fault: Fault, spec: JsonValue) -> bool:
    """Whether the fault is of something that is left out: a field, or one that another field needs."""
    if fault.code == "missing":
        return True
    place = spec
    for part in fault.pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list):
            place = place[int(name)]
        else:
            place = place.get(name) if isinstance(place, dict) else None
    return fault.code == "value_error" and isinstance(place, dict)


def create(session: Session, *, origin: Origin, content: Content) -> Found:
    """A new template, version 1. Raises `Conflict` when another has this name, `ProjectQuotaExhausted`."""
    quotas.check_new_template(session, origin.project_id)
    template = JobTemplate(id=new_id(), project_id=origin.project_id, name=content.name, version=1)
    session.add(template)
    _flush_name(session, content.name)
    return _new_version(session, template, origin=origin, content=content)


def held(session: Session, *, project_id: UUID, template_id: UUID) -> Found:
    """The template in its newest version, locked until the transaction ends. Raises `NotFound`."""
    query = select(JobTemplate).where(
        JobTemplate.id == template_id, JobTemplate.project_id == project_id
    )
    template = session.scalar(query.with_for_update())
    if template is None:
        raise NotFound(_missing(template_id))
    return get(session, project_id=project_id, template_id=template_id)


def change(session: Session, held: Found, *, origin: Origin, content: Content) -> Found:
    """The `held` template with one more version that says `content`.

    Where it says so already, nothing changes. Raises `Conflict` for an archived template or a name that
    another has, and `ProjectQuotaExhausted`.
    """
    template = held.template
    if content == held.content:
        return held
    if template.archived_at is not None:
        raise Conflict("The template is archived: it has no further versions.")
    quotas.check_new_template_version(session, template.project_id)
    template.updated_at = session.scalars(select(func.clock_timestamp())).one()
    template.name, template.version = content.name, template.version + 1
    _flush_name(session, content.name)
    return _new_version(session, template, origin=origin, content=content)


def archive(session: Session, held: Found) -> Found:
    """The `held` template, which no new job may name from now on. Again: nothing changes."""
    if held.template.archived_at is None:
        held.template.archived_at = session.scalars(select(func.clock_timestamp())).one()
        held.template.updated_at = held.template.archived_at
    return held


def get(
    session: Session, *, project_id: UUID, template_id: UUID, version: int | None = None
) -> Found:
    """A version of the template, the newest unless told. Raises `NotFound`, also for another project's."""
    template = session.get(JobTemplate, template_id)
    if template is None or template.project_id != project_id:
        raise NotFound(_missing(template_id))
    number = template.version if version is None else version
    found = session.get(JobTemplateVersion, (template_id, number))
    if found is None:
        detail = f"It has the versions 1 to {template.version}."
        raise NotFound(f"The job template has no version {number}. {detail}")
    return Found(template, found)


def named(session: Session, *, project_id: UUID, reference: str) -> Found:
    """What a job names as "tpl_..." or "tpl_...@2". Raises `NotFound`."""
    public_id, marked, version = reference.partition("@")
    if marked and not (version.isascii() and version.isdigit() and len(version) < 10):
        raise NotFound("A version is named by its number: tpl_...@2.")
    return get(
        session,
        project_id=project_id,
        template_id=from_public("tpl", public_id),
        version=int(version) if marked else None,
    )


def list_templates(
    session: Session, *, project_id: UUID, cursor: str | None, limit: int
) -> Page[JobTemplate]:
    """The project's templates that are not archived, newest first."""
    return page(
        session,
        select(JobTemplate).where(
            JobTemplate.project_id == project_id, JobTemplate.archived_at.is_(None)
        ),
        keys=(JobTemplate.created_at, JobTemplate.id),
        filtered_by=f"job_templates {project_id}",
        cursor=cursor,
        limit=limit,
    )


def newest_descriptions(session: Session, templates: list[JobTemplate]) -> dict[UUID, str]:
    """What the newest version of each of `templates` says of itself."""
    wanted = [template.id for template in templates]
    query = (
        select(JobTemplateVersion.template_id, JobTemplateVersion.description)
        .join(JobTemplate, JobTemplate.id == JobTemplateVersion.template_id)
        .where(JobTemplate.id.in_(wanted), JobTemplate.version == JobTemplateVersion.version)
    )
    return {template_id: description for template_id, description in session.execute(query)}


def _new_version(
    session: Session, template: JobTemplate, *, origin: Origin, content: Content
) -> Found:
    version = JobTemplateVersion(
        template_id=template.id,
        version=template.version,
        description=content.description,
        spec=content.spec,
        created_by_key_id=origin.key_id,
        created_by_member_id=origin.member_id,
    )
    session.add(version)
    # The answer shows created_at, which the database sets.
    session.flush()
    session.refresh(template)
    return Found(template, version)


def _flush_name(session: Session, name: str) -> None:
    try:
        # The database decides who of two gets a name.
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"There is a job template named {name!r} already.") from error


def _missing(template_id: UUID) -> str:
    return f"There is no job template {to_public('tpl', template_id)!r} in this project."
