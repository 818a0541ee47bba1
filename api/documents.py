"""Request bodies: bytes to a JSON document, as strict as RFC 8259 and Postgres want it.

The document is handed on as it is, so that whoever checks it can report all of its faults at once.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from email.message import Message
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import Depends, Request
from pydantic import BaseModel, JsonValue, ValidationError

from api.problems import BodyTooLarge, MalformedJson, UnsupportedMediaType
from domain.errors import ValidationFailed
from vader_core.faults import Fault, escaped, shape_faults

Model = TypeVar("Model", bound=BaseModel)

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
_ILLEGAL = re.compile("[\0\ud800-\udfff]")


async def json_document(request: Request) -> JsonValue:
    """The JSON body of `request`; None where there is no body.

    Raises `BodyTooLarge`, `UnsupportedMediaType`, `MalformedJson`.
    """
    return await bounded_json(request, MAX_BODY_BYTES)


async def bounded_json(request: Request, limit: int) -> JsonValue:
    """As `json_document`, of at most `limit` bytes."""
    body = await bounded_body(request, limit)
    if not body.strip():
        return None
    _require_json(request.headers.get("content-type", ""))
    # In a thread: a large body would hold up every other request for as long as it is parsed.
    return await to_thread.run_sync(parse_json, body)


JsonDocument = Annotated[JsonValue, Depends(json_document)]


def checked(document: JsonValue, model: type[Model], *, further: Sequence[Fault] = ()) -> Model:
    """`document` as `model`; a missing body counts as `{}`.

    Raises `ValidationFailed`, also for `further` faults, which the caller found.
    """
    faults = [*storage_faults(document), *further]
    try:
        made = model.model_validate({} if document is None else document)
    except ValidationError as error:
        raise ValidationFailed([*shape_faults(error, document), *faults]) from error
    if faults:
        raise ValidationFailed(faults)
    return made


def storage_faults(value: JsonValue, *, pointer: str = "") -> list[Fault]:
    """What Postgres cannot keep: NUL and halves of surrogate pairs in texts, numbers beyond 64 bits."""
    if isinstance(value, str):
        return [_illegal_text(pointer)] if _ILLEGAL.search(value) else []
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        detail = f"Numbers lie between -{MAX_INTEGER} and {MAX_INTEGER}."
        return [Fault(pointer=pointer, code="out_of_range", detail=detail)]
    faults: list[Fault] = []
    for name, member in _members(value):
        if isinstance(name, str) and _ILLEGAL.search(name):
            faults.append(_illegal_text(pointer))
        if not _is_storable(member):
            faults += storage_faults(member, pointer=f"{pointer}/{escaped(str(name))}")
    return faults


def _is_storable(value: JsonValue) -> bool:
    """Whether a text or number can be kept; of what has members it is not known yet."""
    if isinstance(value, str):
        return not _ILLEGAL.search(value)
    if isinstance(value, int):
        return -MAX_INTEGER <= value <= MAX_INTEGER
    return value is None or isinstance(value, float)


def refuse_announced(request: Request, limit: int) -> None:
    """Raises `BodyTooLarge` where the request announces a body of more than `limit` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise BodyTooLarge(f"A body of this type may have at most {limit} bytes.")


async def bounded_body(request: Request, limit: int) -> bytes:
    """The body, read no further than `limit` bytes. Raises `BodyTooLarge`."""
    refuse_announced(request, limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(f"A body of this type may have at most {limit} bytes.")
    return bytes(body)


def _require_json(content_type: str) -> None:
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    is_json = subtype == "json" or subtype.endswith("+json")
    if message.get_content_maintype() != "application" or not is_json:
        detail = f"Bodies are application/json; got {content_type or 'no Content-Type'}."
        raise UnsupportedMediaType(detail)


def parse_json(body: bytes) -> JsonValue:
    """The document that `body` holds. Raises `MalformedJson`."""
    try:
        document: JsonValue = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_repeats,
        )
    except RecursionError as error:
        raise _malformed("It is nested too deeply.") from error
    except ValueError as error:
        raise _malformed(str(error)) from error
    if _is_deeper(document, MAX_DEPTH):
        raise _malformed(f"It is nested more than {MAX_DEPTH} levels deep.")
    return document


def _malformed(detail: str) -> MalformedJson:
    return MalformedJson(f"The body is not JSON: {detail}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # With a repeated name two readers may see two different specs.
    members = dict(pairs)
    if len(members) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {repeated[:80]!r} stands twice in one object")
    return members


def _members(value: JsonValue) -> Iterable[tuple[str | int, JsonValue]]:
    """What an object or a list holds, by name or place."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _is_deeper(value: JsonValue, levels: int) -> bool:
    return levels < 0 or any(_is_deeper(member, levels - 1) for _, member in _members(value))


def _illegal_text(pointer: str) -> Fault:
    detail = "Text may hold neither NUL nor half a surrogate pair."
    return Fault(pointer=pointer, code="illegal_character", detail=detail)
