"""RFC 9457 problems: the one error format of the API, for our own faults and for the framework's.

Every answer of status 400 and above has the media type `application/problem+json`, names the request
(`request_id`, `trace_id`), says whether the same request may succeed later (`retryable`), and lists
all faults of an input at once in `errors`. `type` is a link to the kind's description.

    DomainError (domain.errors)
    |- MalformedJson          400  the body is not JSON
    |- IdempotencyKeyMissing  400  a POST without the header
    |- BodyTooLarge           413
    |- UnsupportedMediaType   415  a body of a type that the route does not take
    `- InvalidParameters      422  query, path or header parameters are wrong
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from domain.errors import (
    DomainError,
    PreconditionRequired,
    RateLimited,
    StaleAttempt,
    Unavailable,
    ValidationFailed,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class InputFault(BaseModel):
    """One thing that is wrong: at `pointer` of the body (RFC 6901), or in the named parameter.

    In a body that is read by lines, `/lines/1` is its first line and `/lines/1/prompt` a field in it.
    """

    model_config = ConfigDict(extra="forbid")

    pointer: str | None = None
    parameter: str | None = None
    location: Literal["query", "path", "header"] | None = None
    code: str
    detail: str
    nearest: list[JsonValue] = Field(default=[], description="Legal values closest to the given.")
    line: int | None = Field(default=None, description="Of a body read by lines, from 1.")
    byte_offset: int | None = Field(default=None, description="Of the first byte that is wrong.")


class Problem(BaseModel):
    """RFC 9457 problem details. More fields may stand beside these, depending on `code`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable. The set is open.")
    retryable: bool = Field(description="The very same request may succeed later.")
    request_id: str
    trace_id: str
    errors: list[InputFault] = Field(default=[], description="All faults of the input at once.")


class MalformedJson(DomainError):
    """The body is not one UTF-8 JSON document; `detail` says where it breaks."""

    code, status, title = "malformed_json", 400, "The body is not JSON"


class IdempotencyKeyMissing(DomainError):
    """Every POST needs a header `Idempotency-Key`: a text of your own, new for every new wish."""

    code, status, title = "idempotency_key_missing", 400, "An Idempotency-Key is needed"


class BodyTooLarge(DomainError):
    """The body is larger than the limit that `detail` names."""

    code, status, title = "body_too_large", 413, "The body is too large"


class UnsupportedMediaType(DomainError):
    """Bodies must be sent as `Content-Type: application/json`; uploads as one of the types they may have."""

    code, status, title = "unsupported_media_type", 415, "The body is of another media type"


class InvalidParameters(DomainError):
    """The input is wrong, in its body or in query, path or header parameters. `errors` has every fault, with
    its JSON Pointer or its parameter's name."""

    code, status = "validation_failed", 422

    def __init__(self, errors: Sequence[InputFault]) -> None:
        super().__init__("See `errors` for every parameter that is wrong.")
        self.errors = list(errors)
        self.title = f"The request has {len(errors)} problem{'' if len(errors) == 1 else 's'}"


FRAMEWORK_KINDS: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The request cannot be understood."),
    404: ("not_found", "There is nothing here, or it belongs to another project."),
    405: ("method_not_allowed", "The header `Allow` lists the methods of this path."),
    416: ("range_not_satisfiable", "The asked byte range lies outside the file."),
    500: ("internal", "The service has a fault. The log knows it by the request id."),
}


def type_url(request: Request, code: str) -> str:
    """The link to the description of the kind `code`."""
    public_url: str = request.app.state.settings.public_url
    return f"{public_url.rstrip('/')}/problems/{code.replace('_', '-')}"


def render(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem as a response; `more` are its further fields."""
    content = {
        "type": type_url(request, code),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
        "retryable": False,
        "request_id": request.state.request_id,
        "trace_id": request.state.trace_id,
        **more,
    }
    return Response(
        json.dumps(content),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"X-Request-Id": request.state.request_id, **(headers or {})},
    )


async def on_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)
    headers = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="vader"'
    if isinstance(error, Unavailable | RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, BodyTooLarge):
        # The rest of the body is not read, so the connection cannot be used again.
        headers["Connection"] = "close"
    return render(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail or error.title,
        headers=headers,
        retryable=error.retryable,
        **error.extra,
        **_faults_of(error),
    )


def _faults_of(error: DomainError) -> dict[str, Any]:
    faults: Sequence[InputFault] = ()
    if isinstance(error, ValidationFailed):
        faults = [InputFault.model_validate(fault.model_dump()) for fault in error.faults]
    elif isinstance(error, InvalidParameters):
        faults = error.errors
    return (
        {"errors": [fault.model_dump(exclude_defaults=True) for fault in faults]} if faults else {}
    )


_NO_CONDITION = ("missing", "header", "If-Match")


async def on_parameter_faults(request: Request, error: Exception) -> Response:
    """Faults that the framework found in query, path and header parameters."""
    assert isinstance(error, RequestValidationError)
    if all((found["type"], *found["loc"]) == _NO_CONDITION for found in error.errors()):
        detail = "Name in `If-Match` the `ETag` that you have read, or `*` for whatever is there."
        return await on_domain_error(request, PreconditionRequired(detail))
    faults = [
        InputFault(
            parameter=str(found["loc"][1]),
            location=found["loc"][0],
            code=found["type"],
            detail=found["msg"].removeprefix("Value error, "),
        )
        for found in error.errors()
    ]
    return await on_domain_error(request, InvalidParameters(faults))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such route, wrong method, range outside of a file."""
    assert isinstance(error, HTTPException)
    code, _ = FRAMEWORK_KINDS.get(error.status_code, ("http_error", ""))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_of_path(request))) or headers["Allow"]
    return render(
        request,
        status=error.status_code,
        code=code,
        title=HTTPStatus(error.status_code).phrase,
        detail=f"{request.method} {request.url.path}: {error.detail}",
        headers=headers,
    )


def _methods_of_path(request: Request) -> set[str]:
    """The methods of all routes with the request's path: the framework names those of the first alone."""
    paths, path = request.app.openapi()["paths"], request.url.path
    # A path that is written out stands before those with a place for an id.
    named = [path] if path in paths else paths
    return {
        method.upper()
        for each in named
        if compile_path(each)[0].fullmatch(path)
        for method in paths[each]
    }


async def on_unexpected(request: Request, error: Exception) -> Response:
    """The last resort. What happened stands in the log, never in the answer."""
    logger.error("request %s failed", request.state.request_id, exc_info=error)
    return render(
        request,
        status=500,
        code="internal",
        title="Internal Server Error",
        detail="Something broke on our side. It is in the log under the request id.",
        retryable=True,
    )


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(DomainError, on_domain_error)
    app.add_exception_handler(RequestValidationError, on_parameter_faults)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_unexpected)


def kinds() -> dict[str, tuple[int, str]]:
    """Every problem code that clients can meet: its status and what it means."""
    known = {code: (status, advice) for status, (code, advice) in FRAMEWORK_KINDS.items()}
    waiting: list[type[DomainError]] = [DomainError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind is Unavailable or (kind.status < 500 and kind is not StaleAttempt):
            known.setdefault(kind.code, (kind.status, " ".join((kind.__doc__ or "").split())))
    return known
