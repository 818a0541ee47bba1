"""Job templates: named starts for jobs, in immutable versions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.template_tables import JobTemplate
from domain.templates import Found

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Description = Annotated[str, Field(max_length=2000)]
Spec = Annotated[
    dict[str, JsonValue],
    Field(description="A job spec or a part of one; what is missing comes from `overrides`."),
]


class JobTemplateRequest(Shape):
    """A new job template."""

    name: Name
    description: Description = ""
    spec: Spec


class JobTemplatePatch(Shape):
    """Changes to a job template as a JSON merge patch (RFC 7396): what is left out stays, objects are
    merged member by member, and null takes a member of `spec` away."""

    name: Name | None = None
    description: Description | None = None
    spec: Annotated[
        dict[str, JsonValue] | None,
        Field(description="Merged into the newest version's spec."),
    ] = None


class JobTemplateSummary(Shape):
    """A job template without its spec."""

    id: str
    object: Literal["job_template"] = "job_template"
    reference: str = Field(
        description="What a job's `template` names to get this very version: `tpl_...@2`."
    )
    name: str
    description: str
    version: int
    newest_version: int
    created_at: At = Field(description="When the first version was made.")
    updated_at: At
    archived_at: At | None = Field(description="From then on no new job may name it.")


class JobTemplateShape(JobTemplateSummary):
    """One version of a job template."""

    spec: Spec
    version_created_at: At


class JobTemplatePage(Page[JobTemplateSummary]):
    """Job templates in their newest versions, latest first."""


def summary(template: JobTemplate, description: str) -> JobTemplateSummary:
    return JobTemplateSummary.model_validate(_fields(template, template.version, description))


def whole(found: Found) -> JobTemplateShape:
    version = found.version
    fields = _fields(found.template, version.version, version.description)
    return JobTemplateShape.model_validate(
        {**fields, "spec": version.spec, "version_created_at": version.created_at}
    )


def _fields(template: JobTemplate, version: int, description: str) -> dict[str, object]:
    public_id = ids.to_public("tpl", template.id)
    return {
        "id": public_id,
        "reference": f"{public_id}@{version}",
        "name": template.name,
        "description": description,
        "version": version,
        "newest_version": template.version,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
        "archived_at": template.archived_at,
    }
