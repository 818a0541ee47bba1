"""Requests that survive a restart of the service: retries, and problems turned into errors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from client.errors import UnexpectedAnswer, Unreachable, refusal
from client.models import Problem

_TRIES = 5
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_RETRIED = {429, 502, 503, 504}


class Transport:
    """One HTTP connection pool with the key on every request."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}", "User-Agent": "vader-client"}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)

    def close(self) -> None:
        """Closes the connections."""
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The parsed JSON body of the answer; None for an answer without one (204).

        Tries again when there is no answer or the service is busy; callers send an `Idempotency-Key`
        with whatever must not happen twice. Raises `RequestRefused`, `Unreachable`, `UnexpectedAnswer`.
        """
        request = self.http.build_request(
            method, path, json=json, content=content, params=params, headers=headers
        )
        response = self._answered(request)
        return None if response.status_code == httpx.codes.NO_CONTENT else body_of(response)

    def location(self, path: str) -> str:
        """Where the answer to a GET of `path` sends its reader. Raises as `request` does."""
        response = self._answered(self.http.build_request("GET", path))
        if "Location" not in response.headers:
            raise UnexpectedAnswer(f"{response.url} should have sent its reader on to a file.")
        return str(response.headers["Location"])

    def _answered(self, request: httpx.Request) -> httpx.Response:
        for number in range(_TRIES):
            last = number == _TRIES - 1
            try:
                response = self.http.send(request)
            except httpx.TransportError as error:
                if last:
                    raise unreachable(self.url, error) from error
                time.sleep(backoff(number))
                continue
            if not response.is_error:
                return response
            refused = refusal(problem_of(response))
            busy = response.status_code in _RETRIED or (
                refused.problem.code == "idempotency_in_progress"
            )
            if last or not busy:
                raise refused
            time.sleep(max(backoff(number), _retry_after(response)))
        raise AssertionError("the last try returns or raises")


def backoff(number: int) -> float:
    """Seconds to wait after the try with that number, from 0: doubling, with jitter."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**number)
    factor: float = secrets.SystemRandom().uniform(0.5, 1.0)
    return longest * factor


def unreachable(url: str, error: httpx.TransportError) -> Unreachable:
    """The error that says that `url` does not answer."""
    reason = str(error) or type(error).__name__
    return Unreachable(
        f"{url} does not answer ({reason}). Is the service running? Is the URL right?"
    )


def body_of(response: httpx.Response) -> Any:
    """The JSON of an answer. Raises `UnexpectedAnswer` where it is none."""
    try:
        return response.json()
    except ValueError as error:
        raise UnexpectedAnswer(
            f"{response.url} answered {response.status_code} with something that is not JSON."
        ) from error


def problem_of(response: httpx.Response) -> Problem:
    """The problem an unsuccessful answer carries; one without a problem body gets a made-up one."""
    try:
        return Problem.model_validate(response.json())
    except (ValueError, ValidationError):
        return Problem(
            status=response.status_code,
            title=response.reason_phrase or "The request failed",
            detail=response.text[:300],
            code="no_problem_body",
        )


def _retry_after(response: httpx.Response) -> float:
    asked: str = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_PAUSE_S) if asked.isdigit() else 0.0
