"""Routes that clients poll: at the top of the application, and called without what they do not need.

The framework looks through routers within routers at every level, and makes ready for request bodies,
generators, threads and background tasks at every dependency. For a read of a few rows that takes longer
than the read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from inspect import iscoroutinefunction
from typing import Any, Literal, cast, get_args, get_origin

from fastapi import APIRouter, Depends, Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from api.deps import KEY_DESCRIPTION, current_caller, or_cookie, query_names, refuse_unsound
from api.openapi import operation_id, problems
from domain import callers
from domain.callers import Caller
from domain.reads import Reads

OR_COOKIE: dict[str, Any] = {"security": [{or_cookie.scheme_name: []}]}
"""`openapi_extra` of a polled route: a session will do instead of the API key that its guard declares."""

Faults = list[dict[str, Any]]
Solver = Callable[[Request, Faults], Awaitable[dict[str, Any]]]


class PolledRoute(APIRoute):
    """A GET whose endpoint and dependencies are coroutines that take path, query and header parameters
    or the request itself, and whose endpoint gives a response."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        _require_plain(self.dependant)
        self.query_names = query_names(self.dependant)
        self.app = _plain(_solver(self.dependant), endpoint)


class _Parameter:
    """A declared parameter. `field` is the framework's."""

    def __init__(self, field: Any, place: Literal["path", "query", "header"], key: str) -> None:
        self.field, self.place, self.key = field, place, key
        self.required = field.field_info.is_required()
        self.default: Any = None if self.required else field.get_default()
        annotation = field.field_info.annotation
        self.many = any(get_origin(part) is list for part in (annotation, *get_args(annotation)))

    def read(self, request: Request, faults: Faults) -> Any:
        """Its value, or a fault more and None."""
        given = self._given(request)
        if given is None or given == []:
            if self.required:
                missing = {"type": "missing", "msg": "Field required", "input": None}
                faults.append({**missing, "loc": (self.place, self.key)})
            return copy(self.default)
        value, wrong = self.field.validate(given, {}, loc=(self.place, self.key))
        faults.extend(wrong)
        return value

    def _given(self, request: Request) -> str | list[str] | None:
        if self.place == "path":
            return str(request.path_params[self.key])
        values = request.query_params if self.place == "query" else request.headers
        return values.getlist(self.key) if self.many else values.get(self.key)


def _plain(solve: Solver, endpoint: Callable[..., Awaitable[Response]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request, faults = Request(scope, receive, send), Faults()
        arguments = await solve(request, faults)
        if faults:
            raise RequestValidationError(faults)
        response = await endpoint(**arguments)
        await response(scope, receive, send)

    return app


def _require_plain(dependant: Dependant) -> None:
    """Raises `TypeError` for what `_solver` does not know."""
    wrong: dict[str, Sequence[object]] = {
        "cookies": dependant.cookie_params,
        "a body": dependant.body_params,
        "dependencies without a name": [not each.name for each in dependant.dependencies],
        "what is no coroutine": [not _is_coroutine(dependant.call)],
    }
    named = [kind for kind, found in wrong.items() if any(found)]
    if named:
        raise TypeError(f"{dependant.call}: a polled route cannot have {', '.join(named)}")
    for needed in dependant.dependencies:
        _require_plain(needed)


def _is_coroutine(call: object) -> bool:
    """Also of an object that is called as one, as a guard is."""
    return iscoroutinefunction(call) or iscoroutinefunction(vars(type(call)).get("__call__"))


def _parameters(dependant: Dependant) -> list[_Parameter]:
    return [
        *(_Parameter(field, "path", field.alias) for field in dependant.path_params),
        *(_Parameter(field, "query", field.alias) for field in dependant.query_params),
        *(
            _Parameter(field, "header", field.alias.replace("_", "-"))
            for field in dependant.header_params
        ),
    ]


def _solver(dependant: Dependant) -> Solver:
    """What makes the arguments of a dependency or an endpoint from a request, those it depends on first."""
    needed = [
        (str(each.name), cast(Callable[..., Awaitable[Any]], each.call), _solver(each))
        for each in dependant.dependencies
    ]
    parameters = [(each.field.name, each.read) for each in _parameters(dependant)]
    whole = dependant.request_param_name

    async def solve(request: Request, faults: Faults) -> dict[str, Any]:
        arguments: dict[str, Any] = {} if whole is None else {whole: request}
        for name, call, solve_it in needed:
            its_own = await solve_it(request, faults)
            if not faults:
                arguments[name] = await call(**its_own)
        for name, read in parameters:
            arguments[name] = read(request, faults)
        return arguments

    return solve


class _Guard(HTTPBearer):
    """Gives the caller, who has the scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(scheme_name="HTTPBearer", description=KEY_DESCRIPTION)
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        """Raises as `api.access.identify`, `InvalidParameters`, `MissingScope`."""
        caller = await current_caller(request)
        refuse_unsound(request, request.scope["route"].query_names)
        callers.require(caller, self.scope)
        return caller


def guard(scope: str) -> params.Depends:
    """The first dependency of a polled route: the caller, verified, with this scope, and known parameters."""
    dependency: params.Depends = Depends(_Guard(scope))
    return dependency


def polled_router() -> APIRouter:
    """A router for polled routes, whose paths begin with /v1. The application takes its routes one by one."""
    return APIRouter(
        prefix="/v1",
        route_class=PolledRoute,
        generate_unique_id_function=operation_id,
        responses=problems(401, 422, 429, 500, 503),
    )


def reads_of(request: Request) -> Reads:
    """The connections that polled routes read by."""
    reads: Reads = request.app.state.reads
    return reads
