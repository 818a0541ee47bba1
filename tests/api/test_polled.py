"""Polled routes answer as the framework's own routes would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Cookie, Depends, FastAPI, Header, Query, Request, params
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.polled import PolledRoute
from vader_core.moment import Moment


async def narrowed(
    many: Annotated[list[int], Query(alias="each", max_length=2)] = [],  # noqa: B006
    after: Annotated[Moment | None, Query()] = None,
) -> dict[str, Any]:
    return {"many": many, "after": None if after is None else after.isoformat()}


async def answer(
    request: Request,
    item_id: str,
    narrow: Annotated[dict[str, Any], Depends(narrowed)],
    needed: Annotated[str, Query(max_length=3)],
    limit: Annotated[int, Query(ge=1, le=9)] = 5,
    last: Annotated[int | None, Header(alias="Last-Event-ID")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    maybe: Annotated[list[int] | None, Query()] = None,
) -> JSONResponse:
    seen = [item_id, narrow, needed, limit, last, if_none_match, maybe]
    return JSONResponse([request.method, *seen])


def client_of(route_class: type[APIRoute]) -> TestClient:
    router = APIRouter(route_class=route_class)
    router.get("/items/{item_id}")(answer)
    app = FastAPI()
    app.router.routes.extend(router.routes)
    return TestClient(app)


def in_order(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(faults, key=lambda fault: str(fault["loc"]))


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("needed=a", {}, 200),
        ("needed=", {}, 200),
        ("needed=a&limit=9&each=1&each=2", {"Last-Event-ID": "7", "If-None-Match": '"x"'}, 200),
        ("needed=a&needed=b&after=2026-11-23T10:00:00Z", {}, 200),
        ("needed=a&maybe=3&maybe=4", {}, 200),
        ("needed=a&maybe=x", {}, 422),
        ("", {}, 422),
        ("limit=0&needed=abcd", {"Last-Event-ID": "x"}, 422),
        ("needed=a&each=1&each=2&each=3", {}, 422),
        ("needed=a&each=x&after=yesterday", {}, 422),
        ("each=x", {}, 422),
        ("needed=a&limit=", {}, 422),
    ],
)
def test_parameters_are_read_as_the_framework_reads_them(
    query: str, headers: dict[str, str], status: int
) -> None:
    answers = [
        client_of(kind).get(f"/items/a%20b?{query}", headers=headers)
        for kind in (PolledRoute, APIRoute)
    ]
    assert [each.status_code for each in answers] == [status, status]
    ours, theirs = (each.json() for each in answers)
    if status == 200:
        assert ours == theirs
    else:
        assert in_order(ours["detail"]) == in_order(theirs["detail"])


def test_other_methods_are_refused_alike() -> None:
    answers = [client_of(kind).post("/items/1?needed=a") for kind in (PolledRoute, APIRoute)]
    assert [each.status_code for each in answers] == [405, 405]
    assert answers[0].headers["allow"] == answers[1].headers["allow"] == "GET"


def test_they_are_described_alike() -> None:
    described = [client_of(kind).get("/openapi.json").json() for kind in (PolledRoute, APIRoute)]
    assert described[0] == described[1]


def plain() -> None: ...


async def with_cookie(seen: Annotated[str, Cookie()]) -> None: ...


async def with_body(seen: Annotated[dict[str, int], Body()]) -> None: ...


async def on_plain(seen: Annotated[None, Depends(plain)]) -> None: ...


async def answer_nothing() -> None: ...


@pytest.mark.parametrize(
    ("endpoint", "dependencies", "what"),
    [
        (plain, [], "no coroutine"),
        (on_plain, [], "no coroutine"),
        (with_cookie, [], "cookies"),
        (with_body, [], "a body"),
        (answer_nothing, [Depends(answer_nothing)], "without a name"),
    ],
)
def test_what_a_polled_route_cannot_have_is_told_when_it_is_made(
    endpoint: Callable[..., Any], dependencies: list[params.Depends], what: str
) -> None:
    with pytest.raises(TypeError, match=what):
        PolledRoute("/x", endpoint, dependencies=dependencies)
