"""Uploads: images and videos for first images and scorings."""

from __future__ import annotations

import logging
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import JsonValue
from sqlalchemy.orm import Session

from api.deps import CallerDep, SettingsDep, StoreDep, scope
from api.links import link_to
from api.once import answer_of, once
from api.openapi import problems, receives
from api.paging import CursorParameter, LimitParameter, link_next
from api.received import ReceivedDep
from api.schemas.uploads import UploadPage, UploadShape, UploadSummary
from domain import audit, db, ids, quotas, uploads
from domain.errors import Unavailable
from domain.idempotency import Replay
from domain.store import ObjectStore

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/uploads", tags=["uploads"])


@router.post(
    "",
    status_code=201,
    response_model=UploadSummary,
    responses={
        200: {"model": UploadSummary, "description": "These bytes were uploaded before."},
        **problems(400, 403, 409, 413, 415),
    },
    openapi_extra=receives(uploads.KINDS),
    dependencies=[scope("uploads:write")],
)
def create_upload(
    request: Request, caller: CallerDep, store: StoreDep, file: ReceivedDep
) -> JSONResponse:
    """Store an image (at most 20 MiB) or a video (100 MiB). The same bytes again are the same upload."""
    upload_id = ids.new_id()

    def act(session: Session) -> Replay:
        quotas.check_storage(session, caller.project_id)
        row = uploads.add(
            session,
            upload_id=upload_id,
            project_id=caller.project_id,
            file=file,
            created_by_key_id=caller.key_id,
        )
        shown = UploadSummary.of(row)
        headers = {"Location": f"/v1/uploads/{shown.id}"}
        return answer_of(shown, status_code=201 if row.id == upload_id else 200, headers=headers)

    wish: dict[str, JsonValue] = {
        "sha256": file.sha256,
        "content_type": file.content_type,
        "name": file.name,
    }
    key = uploads.object_key(upload_id)
    # Stored first: a row must never point at bytes that are not there.
    store.put_file(key, file.path, sha256=file.sha256, content_type=file.content_type)
    try:
        return once(request, caller, wish, act)
    finally:
        _give_up_unless_used(store, upload_id)


@router.get("", responses=problems(400, 403), dependencies=[scope("artifacts:read")])
def list_uploads(
    request: Request,
    response: Response,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> UploadPage:
    """Uploads of the project, newest first."""
    with db.read() as session:
        page = uploads.list_uploads(
            session, project_id=caller.project_id, cursor=cursor, limit=limit
        )
    link_next(request, response, cursor=page.next_cursor)
    return UploadPage(
        data=[UploadSummary.of(row) for row in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.get("/{upload_id}", responses=problems(403, 404), dependencies=[scope("artifacts:read")])
def get_upload(
    upload_id: str, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> UploadShape:
    """One upload with a link that needs no key and expires."""
    with db.read() as session:
        row = uploads.get(
            session, project_id=caller.project_id, upload_id=ids.from_public("upl", upload_id)
        )
    return UploadShape.linked(row, link_to(store, settings, key=row.key, filename=row.name))


@router.delete(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=problems(403, 404, 409),
    dependencies=[scope("uploads:write")],
)
def delete_upload(upload_id: str, caller: CallerDep, store: StoreDep) -> Response:
    """Remove an upload. 409 while a prompt set, or a job, scoring or generation that has not ended, uses it."""
    with db.transaction() as session:
        key = uploads.delete(
            session, project_id=caller.project_id, upload_id=ids.from_public("upl", upload_id)
        )
        audit.record(session, caller, action="upload.delete", target=upload_id)
    _forget(store, key)
    return Response(status_code=204)


def _give_up_unless_used(store: ObjectStore, upload_id: UUID) -> None:
    """Deletes the object of a request that was refused, repeated, or brought known bytes."""
    try:
        with db.read() as session:
            used = uploads.exists(session, upload_id)
    except Unavailable:
        # Whether it is used cannot be known: an object too many is the lesser evil.
        return
    if not used:
        _forget(store, uploads.object_key(upload_id))


def _forget(store: ObjectStore, key: str) -> None:
    try:
        store.delete(key)
    except Unavailable:
        logger.warning("the object %s stays behind: the store is away", key)
