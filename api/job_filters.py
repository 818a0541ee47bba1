"""What jobs are narrowed to: by the query of a list, or by the body of a batch."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request

from api.deps import LABEL
from api.problems import InputFault, InvalidParameters
from api.schemas.jobs import BatchFilter
from domain import ids
from domain.errors import NotFound, ValidationFailed
from domain.job_list import JobFilters
from domain.job_status import Status
from vader_core.faults import Fault
from vader_core.method_spec import MethodName
from vader_core.moment import Moment

Versioned = Annotated[str | None, Query(min_length=1, description="`id` or `id@version`.")]
_MAKER = "Give the id of an API key or a member, as a job's `created_by` has it."
_PARENT = "Give the id of a job, as a job's `parent_job_id` has it."


async def of_query(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    statuses: Annotated[
        list[Status], Query(alias="status", description="Any of these; may be repeated.")
    ] = [],  # noqa: B006
    base_model: Versioned = None,
    method: Annotated[MethodName | None, Query(description="A spec's `method.type`.")] = None,
    reward: Annotated[str | None, Query(min_length=1, description="`id` or `id@version`.")] = None,
    template: Annotated[
        str | None, Query(min_length=1, description="`tpl_...` or `tpl_...@2`.")
    ] = None,
    parent: Annotated[
        str | None, Query(description="The id of the job that they were made from.")
    ] = None,
    created_by: Annotated[str | None, Query(description="The id of a key or a member.")] = None,
    created_after: Annotated[Moment | None, Query()] = None,
    created_before: Annotated[Moment | None, Query()] = None,
    q: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            description="A part of the name. Slow in long lists where the database has no `pg_trgm`.",
        ),
    ] = None,
    label: Annotated[
        str | None, Query(alias=LABEL, description="Write the label's name for NAME.")
    ] = None,
) -> JobFilters:
    """What a list of jobs can be narrowed to. Raises `InvalidParameters`."""
    labels = _labels(request)
    key_id, member_id = _uuid("key", created_by), _uuid("mem", created_by)
    parent_id = _uuid("job", parent)
    wrong = [
        InputFault(parameter=name, location="query", code="no_such_id", detail=detail)
        for name, given, found, detail in (
            ("created_by", created_by, key_id or member_id, _MAKER),
            ("parent", parent, parent_id, _PARENT),
        )
        if given is not None and found is None
    ]
    if wrong:
        raise InvalidParameters(wrong)
    return JobFilters(
        statuses=tuple(statuses),
        base_model=base_model,
        method=method,
        reward=reward,
        template=template,
        parent=parent_id,
        created_by_key=key_id,
        created_by_member=member_id,
        labels=labels,
        created_after=created_after,
        created_before=created_before,
        text=q,
    )


def _labels(request: Request) -> dict[str, str]:
    """What labels must be, by name."""
    prefix = LABEL.removesuffix("NAME")
    return {
        name.removeprefix(prefix): value
        for name, value in sorted(request.query_params.items())
        if name.startswith(prefix)
    }


def of_body(asked: BatchFilter) -> JobFilters:
    """The same from a body. Raises `ValidationFailed`."""
    key_id, member_id = _uuid("key", asked.created_by), _uuid("mem", asked.created_by)
    parent_id = _uuid("job", asked.parent)
    wrong = [
        Fault(pointer=f"/filter/{name}", code="no_such_id", detail=detail)
        for name, given, found, detail in (
            ("created_by", asked.created_by, key_id or member_id, _MAKER),
            ("parent", asked.parent, parent_id, _PARENT),
        )
        if given is not None and found is None
    ]
    if wrong:
        raise ValidationFailed(wrong)
    return JobFilters(
        statuses=tuple(asked.status),
        base_model=asked.base_model,
        method=asked.method,
        reward=asked.reward,
        template=asked.template,
        parent=parent_id,
        created_by_key=key_id,
        created_by_member=member_id,
        labels=asked.labels,
        created_after=asked.created_after,
        created_before=asked.created_before,
        text=asked.q,
    )


def _uuid(prefix: ids.Prefix, public_id: str | None) -> UUID | None:
    """None also for what is no id of this kind."""
    try:
        return None if public_id is None else ids.from_public(prefix, public_id)
    except NotFound:
        return None
