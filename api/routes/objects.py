"""Signed downloads from the folder store; an S3 store signs links to itself instead."""

from __future__ import annotations

import mimetypes
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from api.deps import StoreDep
from api.openapi import problems
from domain.errors import NotFound
from domain.store_folder import FolderStore

router = APIRouter(tags=["artifacts"])


class SentFile(FileResponse):
    """A file or the asked part of it; a range that cannot be served is a problem like any other."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unless_refused(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = Headers(scope=message)
                told = {name: headers[name] for name in ("Content-Range",) if name in headers}
                detail = f"Range {Headers(scope=scope)['range'][:200]!r} cannot be served."
                raise HTTPException(message["status"], detail, told)
            await send(message)

        await super().__call__(scope, receive, send_unless_refused)


@router.get(
    "/v1/objects/{key:path}",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The file. `Range` is honoured with 206.",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        },
        **problems(400, 404, 410, 416, 422, 503),
    },
)
def download_object(
    key: str,
    store: StoreDep,
    exp: Annotated[int, Query(description="When the link expires, in Unix seconds.")],
    sig: Annotated[str, Query(max_length=200)],
    filename: Annotated[str, Query(max_length=300)],
) -> FileResponse:
    """What a signed link leads to. It needs no API key: the signature is for this object alone."""
    if not isinstance(store, FolderStore):
        raise NotFound("The object store signs links of its own.")
    path = store.check_link(key, exp=exp, sig=sig, filename=filename)
    media_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return SentFile(
        path,
        filename=filename,
        media_type=media_type,
        # A link is good for anyone who has it, so nothing on the way may keep the file.
        headers={"Cache-Control": "private, no-store"},
    )
