"""What all calls of the API are made of: requests with typed answers, and lists of many pages."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from client.aio.transport import Transport
from client.answers import given, parsed
from client.models import Page

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item", bound=BaseModel)
_MOST_A_PAGE = 100


class Calls:
    """Requests in the API's terms. All raise `client.errors.VaderError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _get(
        self,
        model: type[Model],
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        wait_s: int = 0,
    ) -> Model:
        """With `wait_s` the service may hold the answer back for so long."""
        response = await self._transport.request(
            "GET",
            path,
            params=given(params),
            headers={"Prefer": f"wait={wait_s}"} if wait_s else {},
            timeout_s=self._transport.timeout_s + wait_s,
        )
        return parsed(model, response)

    async def _text(self, path: str, *, params: Mapping[str, Any] | None = None) -> str:
        headers = {"Accept": "text/plain"}
        response = await self._transport.request("GET", path, params=given(params), headers=headers)
        return response.text

    async def _post(
        self,
        model: type[Model],
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        wait_s: int = 0,
    ) -> Model:
        """The same `idempotency_key` again does nothing again and gives the first answer again."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        response = await self._transport.request(
            "POST",
            path,
            json=dict(body or {}),
            headers=headers,
            timeout_s=self._transport.timeout_s + wait_s,
        )
        return parsed(model, response)

    async def _post_bytes(
        self,
        model: type[Model],
        path: str,
        content: bytes,
        *,
        content_type: str,
        params: Mapping[str, Any] | None = None,
    ) -> Model:
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": content_type}
        response = await self._transport.request(
            "POST", path, content=content, params=given(params), headers=headers
        )
        return parsed(model, response)

    async def _patch(
        self, model: type[Model], path: str, body: Mapping[str, Any], *, etag: str | None = None
    ) -> Model:
        """With `etag` only what is still as it was is changed; else `Stale` is raised, which may also mean
        that an earlier try did it and its answer was lost."""
        headers = {"If-Match": etag} if etag else {}
        response = await self._transport.request("PATCH", path, json=dict(body), headers=headers)
        return parsed(model, response)

    async def _put(self, model: type[Model], path: str, *, etag: str | None) -> Model:
        """Without `etag` only what is not there yet is made; else as `_patch`."""
        headers = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        response = await self._transport.request("PUT", path, headers=headers)
        return parsed(model, response)

    async def _delete(self, path: str) -> None:
        await self._transport.request("DELETE", path)

    async def _delete_kept(self, model: type[Model], path: str) -> Model:
        """Of what can still be read afterwards: how it stands then."""
        return parsed(model, await self._transport.request("DELETE", path))

    def _list(
        self, item: type[Item], path: str, params: Mapping[str, Any] | None = None
    ) -> Listing[Item]:
        return Listing(self._transport, item, path, given(params))


class Listing(Generic[Item]):
    """A list of the service, of one page or many. Iterating it fetches page after page, newest first
    where nothing else is said; no request is made before."""

    def __init__(
        self, transport: Transport, item: type[Item], path: str, params: Mapping[str, Any]
    ) -> None:
        self._transport, self._path, self._params = transport, path, params
        # A model made at run time, which no type checker can follow.
        self._model: type[Page[Item]] = Page[item]  # type: ignore[valid-type]

    async def page(self, *, limit: int = 20, cursor: str | None = None) -> Page[Item]:
        """At most `limit` (up to 100) items; `next_cursor` is the `cursor` of the page after it."""
        params = {**self._params, **given({"limit": limit, "cursor": cursor})}
        response = await self._transport.request("GET", self._path, params=params)
        return parsed(self._model, response)

    async def __aiter__(self) -> AsyncIterator[Item]:
        page = await self.page(limit=_MOST_A_PAGE)
        while True:
            for item in page.data:
                yield item
            if page.next_cursor is None:
                return
            page = await self.page(limit=_MOST_A_PAGE, cursor=page.next_cursor)
