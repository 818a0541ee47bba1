"""Prompt sets as they are sent: a JSON document, or one prompt a line as JSON Lines or plain text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Query, Request
from pydantic import JsonValue

from api.documents import bounded_body, json_document, parse_json
from api.problems import InputFault, InvalidParameters, MalformedJson, UnsupportedMediaType
from vader_core.faults import Fault

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
MAX_LINES = 20_000
BY_LINES = ("application/jsonl", "application/x-ndjson", "text/plain")
_UTF8 = {"utf-8", "utf8", "us-ascii"}
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class PromptBody:
    """What was sent, as one document. `pointers` says where each prompt stands and `lines` in which line;
    both are None for a body that is that document itself. `wish` is what tells two requests apart.
    `base_model` is the one to measure the prompts by, as it was asked for.
    """

    document: JsonValue
    wish: JsonValue
    base_model: str | None = None
    pointers: list[str] | None = None
    lines: list[int] | None = None
    empty_lines: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


async def prompt_body(
    request: Request,
    name: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=200,
            pattern=r"\S",
            description="The set's name, for a body that is read by lines.",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Measure the prompts by this base model's text encoder, and look at whether "
            "it takes first images.",
        ),
    ] = None,
) -> PromptBody:
    """The prompts of the request's body.

    Raises `BodyTooLarge`, `UnsupportedMediaType`, `MalformedJson` and, for a `name` that is missing or one
    too many, `InvalidParameters`. Whatever is wrong in single lines stands in `faults`.
    """
    content_type = _content_type(request)
    if content_type not in BY_LINES:
        document = await json_document(request)
        if name is not None:
            raise _wrong_name("extra_forbidden", "A JSON document names the set itself, by `name`.")
        return PromptBody(document, {"document": document, "base_model": base_model}, base_model)
    if name is None:
        raise _wrong_name("missing", "A body that is read by lines needs `?name=`.")
    body = await bounded_body(request, MAX_BODY_BYTES)
    # In a thread: a large body would hold up every other request for as long as it is read.
    found = await to_thread.run_sync(_read_lines, body, content_type)
    found.base_model = base_model
    found.document = {"name": name, "prompts": found.document}
    found.wish = {
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_type": content_type,
        "name": name,
        "base_model": base_model,
    }
    return found


PromptBodyDep = Annotated[PromptBody, Depends(prompt_body)]


def _content_type(request: Request) -> str:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    content_type = message.get_content_type()
    charset = str(message.get_param("charset") or "utf-8").lower()
    if "content-type" in request.headers and charset not in _UTF8:
        raise UnsupportedMediaType(f"Prompts are sent as UTF-8; got charset={charset[:40]}.")
    # Where nothing is said, the class above answers "text/plain"; a client must say it.
    return content_type if "content-type" in request.headers else ""


def _wrong_name(code: str, detail: str) -> InvalidParameters:
    return InvalidParameters(
        [InputFault(parameter="name", location="query", code=code, detail=detail)]
    )


def _read_lines(body: bytes, content_type: str) -> PromptBody:
    """The lines of `body` as a list of prompts, in `document`."""
    if body.startswith(_OTHER_BOMS):
        return _refused(_not_utf8(1, 0, "The body is UTF-16: save it as UTF-8."))
    start = len(_BOM) if body.startswith(_BOM) else 0
    count = body.count(b"\n") + 1
    if count > MAX_LINES:
        detail = f"At most {MAX_LINES} lines; got {count}."
        return _refused(Fault(pointer="", code="too_many_lines", detail=detail))
    as_prompt = _text_prompt if content_type == "text/plain" else _json_prompt
    prompts: list[JsonValue] = []
    pointers: list[str] = []
    numbers: list[int] = []
    found = PromptBody(prompts, wish=None, pointers=pointers, lines=numbers)
    lines = body[start:].split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            # What follows the last line break is no line of its own.
            if number < len(lines) or line:
                found.empty_lines.append(f"/lines/{number}")
        elif isinstance(prompt := _prompt_of(line, number, start, as_prompt), Fault):
            found.faults.append(prompt)
        else:
            prompts.append(prompt)
            pointers.append(f"/lines/{number}")
            numbers.append(number)
        start += len(line) + 1
    return found


def _refused(fault: Fault) -> PromptBody:
    return PromptBody([], wish=None, pointers=[], lines=[], faults=[fault])


def _prompt_of(
    line: bytes, number: int, start: int, as_prompt: Callable[[bytes], JsonValue]
) -> JsonValue | Fault:
    """The prompt in line `number`, which begins at byte `start` of the body."""
    if len(line) > MAX_LINE_BYTES:
        detail = f"At most {MAX_LINE_BYTES} bytes a line; got {len(line)}."
        return _line_fault(number, start, "line_too_long", detail)
    try:
        line.decode("utf-8")
        return as_prompt(line)
    except UnicodeDecodeError as error:
        detail = f"Byte {error.start + 1} of the line, 0x{line[error.start]:02x}, is not UTF-8."
        return _not_utf8(number, start + error.start, detail)
    except MalformedJson as error:
        return _line_fault(number, start, "malformed_json", error.detail)


def _text_prompt(line: bytes) -> JsonValue:
    return {"prompt": line.decode("utf-8").strip()}


def _json_prompt(line: bytes) -> JsonValue:
    document = parse_json(line)
    return {"prompt": document} if isinstance(document, str) else document


def _not_utf8(number: int, byte_offset: int, detail: str) -> Fault:
    return _line_fault(number, byte_offset, "not_utf8", detail)


def _line_fault(number: int, byte_offset: int, code: str, detail: str) -> Fault:
    return Fault(
        pointer=f"/lines/{number}", code=code, detail=detail, line=number, byte_offset=byte_offset
    )
