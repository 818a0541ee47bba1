"""Adapters: what a job yields, and its files."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.deps import CallerDep, SettingsDep, StoreDep, scope
from api.links import link_to, redirect_to
from api.openapi import problems
from api.schemas.artifacts import AdapterShape, FilePage
from api.schemas.shared import FileLink
from domain import artifacts, db, ids
from domain.api_keys import Caller
from domain.errors import NotFound
from domain.tables import Adapter

router = APIRouter(
    prefix="/adapters/{adapter_id}",
    tags=["artifacts"],
    responses=problems(403, 404),
    dependencies=[scope("artifacts:read")],
)


def _adapter(caller: Caller, adapter_id: str) -> Adapter:
    with db.read() as session:
        return artifacts.adapter(
            session, project_id=caller.project_id, adapter_id=ids.from_public("ad", adapter_id)
        )


@router.get("")
def get_adapter(adapter_id: str, caller: CallerDep) -> AdapterShape:
    """One adapter with its files."""
    return AdapterShape.of(_adapter(caller, adapter_id))


@router.get("/files")
def list_adapter_files(
    adapter_id: str, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> FilePage:
    """The adapter's files with links that need no key and expire."""
    row = _adapter(caller, adapter_id)
    files = []
    for file in row.files:
        name = file["path"].rpartition("/")[2]
        link = link_to(store, settings, key=f"{row.prefix}/{file['path']}", filename=name)
        files.append(
            FileLink.model_validate({**file, "url": link.url, "url_expires_at": link.expires_at})
        )
    return FilePage(data=files, next_cursor=None, has_more=False)


@router.get("/files/{path:path}", status_code=302, response_class=RedirectResponse)
def get_adapter_file(
    adapter_id: str, path: str, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> RedirectResponse:
    """302 to a link to one file."""
    row = _adapter(caller, adapter_id)
    if path not in {file["path"] for file in row.files}:
        known = ", ".join(file["path"] for file in row.files)
        raise NotFound(f"This adapter has no file {path[:200]!r}. It has: {known}.")
    name = path.rpartition("/")[2]
    return redirect_to(link_to(store, settings, key=f"{row.prefix}/{path}", filename=name))
