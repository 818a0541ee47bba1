"""Adapters: the registry, their files, and the aliases by which others name them."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from api import adapter_view
from api.deps import CallerDep, SettingsDep, StoreDep, scope
from api.links import link_to, redirect_to
from api.openapi import problems
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.adapters import AdapterPage, AdapterShape, AliasPage, AliasShape, FilePage
from api.schemas.shared import FileLink
from domain import adapter_registry, audit, db, ids
from domain.adapter_registry import ALIAS, AdapterFilters, Condition
from domain.adapter_tables import AdapterAlias
from domain.callers import Caller
from domain.errors import EtagMismatch, NotFound
from domain.tables import Adapter

router = APIRouter(tags=["adapters"])

AdapterId = Annotated[str, Path(description="Such as `ad_01kax4b7c8d9e0f1g2h3j4k5m6`.")]
AliasName = Annotated[str, Path(pattern=ALIAS, description="Such as `production`.")]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The alias's `ETag`: needed to move one that is there."),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="`*`: only if there is no such alias yet."),
]
_TAG = re.compile(r'(?:W/)?"([\d-]{1,40})"')


def adapter_filters(
    base_model: Annotated[str | None, Query(description="`id` or `id@version`.")] = None,
    job: Annotated[str | None, Query(description="A job's id.")] = None,
    alias: Annotated[str | None, Query(description="A name that points at it.")] = None,
) -> AdapterFilters:
    """What a list of adapters can be narrowed to."""
    job_id = None if job is None else ids.from_public("job", job)
    return AdapterFilters(base_model=base_model, job_id=job_id, alias=alias)


@router.get("/adapters", responses=problems(400, 403, 404), dependencies=[scope("jobs:read")])
def list_adapters(
    request: Request,
    response: Response,
    caller: CallerDep,
    filters: Annotated[AdapterFilters, Depends(adapter_filters)],
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> AdapterPage:
    """Adapters of the project whose files are kept, newest first."""
    with db.read() as session:
        page = adapter_registry.list_adapters(
            session, project_id=caller.project_id, filters=filters, cursor=cursor, limit=limit
        )
        shown = adapter_view.summaries(session, page.items)
    link_next(request, response, cursor=page.next_cursor)
    more = page.next_cursor is not None
    return AdapterPage(data=shown, next_cursor=page.next_cursor, has_more=more)


@router.get(
    "/adapters/{adapter_id}", responses=problems(403, 404), dependencies=[scope("jobs:read")]
)
def get_adapter(adapter_id: AdapterId, caller: CallerDep) -> AdapterShape:
    """One adapter with its files and where it comes from. It stays when its files are deleted."""
    with db.read() as session:
        adapter = adapter_registry.get(
            session, project_id=caller.project_id, adapter_id=ids.from_public("ad", adapter_id)
        )
        return adapter_view.whole(session, adapter)


@router.get(
    "/adapters/{adapter_id}/files",
    responses=problems(403, 404, 410),
    dependencies=[scope("artifacts:read")],
)
def list_adapter_files(
    adapter_id: AdapterId, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> FilePage:
    """The adapter's files with their sha256 and links that need no key, expire, and serve byte ranges."""
    row = _kept(caller, adapter_id)
    files = []
    for file in row.files:
        name = file["path"].rpartition("/")[2]
        link = link_to(store, settings, key=f"{row.prefix}/{file['path']}", filename=name)
        files.append(
            FileLink.model_validate({**file, "url": link.url, "url_expires_at": link.expires_at})
        )
    return FilePage(data=files, next_cursor=None, has_more=False)


@router.get(
    "/adapters/{adapter_id}/files/{path:path}",
    status_code=302,
    response_class=RedirectResponse,
    responses=problems(403, 404, 410),
    dependencies=[scope("artifacts:read")],
)
def get_adapter_file(
    adapter_id: AdapterId, path: str, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> RedirectResponse:
    """302 to a link to one file, which serves byte ranges too."""
    row = _kept(caller, adapter_id)
    if path not in {file["path"] for file in row.files}:
        known = ", ".join(file["path"] for file in row.files)
        raise NotFound(f"This adapter has no file {path[:200]!r}. It has: {known}.")
    name = path.rpartition("/")[2]
    return redirect_to(link_to(store, settings, key=f"{row.prefix}/{path}", filename=name))


@router.get("/adapter-aliases", responses=problems(403), dependencies=[scope("jobs:read")])
def list_adapter_aliases(caller: CallerDep) -> AliasPage:
    """All aliases of the project and the adapters that they point at."""
    with db.read() as session:
        rows = adapter_registry.aliases(session, project_id=caller.project_id)
    shown = [adapter_view.alias(row) for row in rows]
    return AliasPage(data=shown, next_cursor=None, has_more=False)


@router.get(
    "/adapter-aliases/{name}", responses=problems(403, 404), dependencies=[scope("jobs:read")]
)
def get_adapter_alias(name: AliasName, caller: CallerDep, response: Response) -> AliasShape:
    """One alias, with the `ETag` that moving it needs."""
    with db.read() as session:
        row = adapter_registry.alias(session, project_id=caller.project_id, name=name)
    response.headers["ETag"] = _etag(row)
    return adapter_view.alias(row)


@router.put(
    "/adapters/{adapter_id}/aliases/{name}",
    responses=problems(400, 403, 404, 410, 412, 428),
    dependencies=[scope("adapters:write")],
)
def put_adapter_alias(
    adapter_id: AdapterId,
    name: AliasName,
    response: Response,
    caller: CallerDep,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> AliasShape:
    """Make an alias point at an adapter.

    A new alias needs no condition; one that is there is moved only by those who name its `ETag` in `If-Match`.
    Asking for what is so already changes nothing. Wherever an adapter is asked for, `@name` means the one
    that the alias points at by then.
    """
    with db.transaction() as session:
        row = adapter_registry.point(
            session,
            project_id=caller.project_id,
            name=name,
            adapter_id=ids.from_public("ad", adapter_id),
            condition=_condition(if_match, if_none_match),
        )
        details = {"alias": name, "version": row.version}
        audit.record(session, caller, action="adapter.alias", target=adapter_id, details=details)
    response.headers["ETag"] = _etag(row)
    return adapter_view.alias(row)


@router.delete(
    "/adapters/{adapter_id}/aliases/{name}",
    status_code=204,
    responses=problems(400, 403, 404, 412),
    dependencies=[scope("adapters:write")],
)
def delete_adapter_alias(
    adapter_id: AdapterId, name: AliasName, caller: CallerDep, if_match: IfMatch = None
) -> None:
    """Remove an alias of an adapter. The adapter stays."""
    with db.transaction() as session:
        adapter_registry.unpoint(
            session,
            project_id=caller.project_id,
            name=name,
            adapter_id=ids.from_public("ad", adapter_id),
            condition=_condition(if_match, None),
        )
        details = {"alias": name}
        audit.record(
            session, caller, action="adapter.alias_removed", target=adapter_id, details=details
        )


def _kept(caller: Caller, adapter_id: str) -> Adapter:
    """The adapter, whose files are there. Raises `NotFound`, `ArtifactExpired`."""
    with db.read() as session:
        row = adapter_registry.get(
            session, project_id=caller.project_id, adapter_id=ids.from_public("ad", adapter_id)
        )
        adapter_registry.refuse_deleted(session, row)
        return row


def _etag(row: AdapterAlias) -> str:
    return f'"{adapter_registry.tag_of(row)}"'


def _condition(if_match: str | None, if_none_match: str | None) -> Condition:
    """What the headers ask of the alias. Raises `EtagMismatch` for a tag that no alias ever has."""
    if if_match is None:
        return Condition(absent=if_none_match is not None)
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None:
        raise EtagMismatch("`If-Match` takes the `ETag` of the alias.")
    return Condition(tag=tag[1])
