# Generated from client/aio/transport.py by `python -m tests.sync_client`. Do not edit.
"""Requests that survive a restart of the service: sent again until answered, problems turned into errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from client.errors import UnexpectedAnswer
from client.retries import after_answer, after_silence
from client.sync.basics import sleep


class Transport:
    """One HTTP connection pool with the key on every request, and one without it for signed links."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        agent = {"User-Agent": "vader-client"}
        headers = {"Authorization": f"Bearer {api_key}", **agent}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)
        self.bare = httpx.Client(headers=agent, timeout=timeout_s, follow_redirects=True)

    def close(self) -> None:
        """Closes the connections."""
        self.http.close()
        self.bare.close()

    def request(  # noqa: PLR0913 (the parts of a request)
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """The answer, which is no error.

        Tries again when there is no answer or the service is busy; callers send an `Idempotency-Key`
        with whatever must not happen twice. Raises `RequestRefused`, `Unreachable`.
        """
        request = self.http.build_request(
            method,
            path,
            json=json,
            content=content,
            params=params,
            headers=headers,
            timeout=timeout_s or self.timeout_s,
        )
        number = 0
        while True:
            try:
                verdict = after_answer(self.http.send(request), number=number)
            except httpx.TransportError as error:
                verdict = after_silence(self.url, error, number=number)
            if verdict.response is not None:
                return verdict.response
            sleep(verdict.pause_s)
            number += 1

    def location(self, path: str) -> str:
        """Where the answer to a GET of `path` sends its reader. Raises as `request` does."""
        response = self.request("GET", path)
        if "Location" not in response.headers:
            raise UnexpectedAnswer(f"{response.url} should have sent its reader on to a file.")
        return str(httpx.URL(self.url).join(response.headers["Location"]))
