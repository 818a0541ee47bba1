"""What all paged lists share: parameters and the `Link` header."""

from __future__ import annotations

from collections.abc import Iterable
from json import dumps
from typing import Annotated

from fastapi import Query, Request, Response

CursorParameter = Annotated[
    str | None,
    Query(max_length=1000, description="`next_cursor` of the page before, filters unchanged."),
]
LimitParameter = Annotated[int, Query(ge=1, le=100, description="At most so many items.")]


def page_text(items: Iterable[str], *, next_cursor: str | None, **more: str) -> str:
    """A `Page` as JSON, of items that are JSON already, with `more` fields."""
    rest = {"next_cursor": next_cursor, "has_more": next_cursor is not None, **more}
    return f'{{"data":[{",".join(items)}],{dumps(rest)[1:]}'


def link_next(request: Request, response: Response, **parameters: str | None) -> None:
    """Adds `Link: <...>; rel="next"`: this request with `parameters` changed; nothing when one is None."""
    if None not in parameters.values():
        url = request.url.include_query_params(**parameters)
        # Relative to the request, so that it holds behind any proxy.
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
