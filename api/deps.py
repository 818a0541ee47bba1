"""What routes are given: the caller, the settings, the catalogue, the object store, the doorbell
and the streams.

There is no session among them on purpose. A session held from a dependency into the route would keep a
database connection while the request waits for a worker thread, and enough such requests wait for each
other for ever. Routes open `db.read()` or `db.transaction()` for as long as they need it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, params
from fastapi.dependencies.models import Dependant
from fastapi.security import APIKeyCookie, HTTPBearer

from api.access import COOKIE, cookie_of, identify
from api.doorbell import Doorbell
from api.measured import Measured
from api.problems import InputFault, InvalidParameters
from api.streams import EventFeed
from domain import callers
from domain.callers import Caller
from domain.settings import Settings
from domain.store import ObjectStore
from vader_core.catalogue import Catalogue

LABEL = "label.NAME"
"""How a filter by label is declared; clients write the label's name for NAME."""

KEY_DESCRIPTION = "An API key of a project: `vdr_live_...`"


class _Access(HTTPBearer):
    """One dependency without others below: a route names it several times, and each would cost again."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        """Whose API key or session the request carries. Raises as `api.access.identify`."""
        given = request.headers.get("Authorization", "")
        scheme, _, key = given.partition(" ")
        bearer = key.strip() if scheme.lower() == "bearer" and key.strip() else None
        cookie = cookie_of(request) if bearer is None else None
        return await identify(request, bearer=bearer, cookie=cookie)


class _OrCookie(APIKeyCookie):
    """Declares the second way to authenticate; `_Access` reads it."""

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        return None


current_caller = _Access(scheme_name="HTTPBearer", description=KEY_DESCRIPTION)
or_cookie = _OrCookie(
    name=COOKIE,
    scheme_name="APIKeyCookie",
    description=f"A member's session, from POST /v1/sessions. By https its name is `__Host-{COOKIE}`.",
)


async def sound_parameters_only(request: Request) -> None:
    """Refuses query parameters that the route does not have (a misspelt filter must not pass as none)
    and values that Postgres cannot take."""
    if request.scope["query_string"]:
        refuse_unsound(request, query_names(request.scope["route"].dependant))


def refuse_unsound(request: Request, known: frozenset[str]) -> None:
    """Raises `InvalidParameters` as `sound_parameters_only`, where `known` are the route's."""
    faults = []
    for name, value in request.query_params.multi_items():
        if name not in known and not (LABEL in known and name.startswith("label.")):
            legal = f"Unknown parameter. Known: {', '.join(sorted(known)) or 'none'}."
            faults.append(_query_fault(name, "unknown_parameter", legal))
        elif "\0" in name + value:
            faults.append(_query_fault(name, "illegal_character", "Text may not hold NUL."))
    if faults:
        raise InvalidParameters(faults)


def _query_fault(name: str, code: str, detail: str) -> InputFault:
    return InputFault(parameter=name, location="query", code=code, detail=detail)


def query_names(dependant: Dependant) -> frozenset[str]:
    """The query parameters of a route and of what it depends on."""
    names = frozenset(parameter.alias for parameter in dependant.query_params)
    return names.union(*(query_names(needed) for needed in dependant.dependencies))


# What needs no thread is a coroutine: the framework runs plain functions in its thread pool.
async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


async def _store(request: Request) -> ObjectStore:
    store: ObjectStore = request.app.state.store
    return store


async def _doorbell(request: Request) -> Doorbell:
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


async def _measured(request: Request) -> Measured:
    measured: Measured = request.app.state.measured
    return measured


async def _feed(request: Request) -> EventFeed:
    feed: EventFeed = request.app.state.feed
    return feed


CallerDep = Annotated[Caller, Depends(current_caller)]
SettingsDep = Annotated[Settings, Depends(_settings)]
CatalogueDep = Annotated[Catalogue, Depends(_catalogue)]
StoreDep = Annotated[ObjectStore, Depends(_store)]
DoorbellDep = Annotated[Doorbell, Depends(_doorbell)]
MeasuredDep = Annotated[Measured, Depends(_measured)]
FeedDep = Annotated[EventFeed, Depends(_feed)]


def scope(name: str) -> params.Depends:
    """A dependency for routes that need a key with the scope `name`; others meet `MissingScope`."""

    async def require(caller: CallerDep) -> None:
        callers.require(caller, name)

    dependency: params.Depends = Depends(require)
    return dependency
