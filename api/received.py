"""Uploaded bodies: streamed to a file, hashed on the way, refused when too large or not what they claim."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Annotated

from anyio import to_thread
from fastapi import Depends, Query, Request

from api.documents import refuse_announced
from api.problems import BodyTooLarge, InputFault, InvalidParameters, UnsupportedMediaType
from domain.errors import Unavailable
from domain.uploads import HEAD_BYTES, KINDS, Kind, Received

_WRITTEN_AT_ONCE = 2**20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


async def received(
    request: Request,
    name: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            pattern=r"^[^/\\\x00-\x1f]+$",
            description="What the file is called; only shown.",
        ),
    ] = None,
) -> AsyncIterator[Received]:
    """The request's body as a file that is there until the request is over.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, `InvalidParameters` for a body that is not of its
    Content-Type, and `Unavailable` where there is no room for it.
    """
    content_type, kind = _kind(request)
    refuse_announced(request, kind.max_bytes)
    with tempfile.NamedTemporaryFile(prefix="vader-upload-", buffering=0) as sink:
        sha256, size_bytes, head = await _receive(request, sink, kind.max_bytes)
        if not kind.begins(head):
            raise _not_what_it_claims(content_type)
        yield Received(
            path=Path(sink.name),
            name=name or f"upload{kind.suffix}",
            content_type=content_type,
            sha256=sha256,
            size_bytes=size_bytes,
        )


ReceivedDep = Annotated[Received, Depends(received)]


def _kind(request: Request) -> tuple[str, Kind]:
    asked = request.headers.get("content-type", "")
    content_type = asked.partition(";")[0].strip().lower()
    if content_type not in KINDS:
        detail = f"Uploads are {', '.join(KINDS)}; got {asked or 'no Content-Type'}."
        raise UnsupportedMediaType(detail)
    return content_type, KINDS[content_type]


async def _receive(request: Request, sink: IO[bytes], limit: int) -> tuple[str, int, bytes]:
    """The sha256, size and first bytes of what was written to `sink`."""
    digest, size, head, waiting = hashlib.sha256(), 0, b"", bytearray()

    def write_out() -> None:
        digest.update(waiting)
        sink.write(waiting)
        waiting.clear()

    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(f"A body of this type may have at most {limit} bytes.")
            head += chunk[: HEAD_BYTES - len(head)]
            waiting += chunk
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await to_thread.run_sync(write_out)
        await to_thread.run_sync(write_out)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise Unavailable("There is no room for uploads now.") from error
        raise
    return digest.hexdigest(), size, head


def _not_what_it_claims(content_type: str) -> InvalidParameters:
    fault = InputFault(
        parameter="Content-Type",
        location="header",
        code="content_mismatch",
        detail=f"The body is not {content_type}: its first bytes are others.",
    )
    return InvalidParameters([fault])
