"""When a request is sent again, and what its answers mean. No input or output here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from client.errors import RequestRefused, Unreachable, refusal
from client.models import Problem

TRIES = 5
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
# Whoever is asked to stay away for longer is told so instead of being held.
LONGEST_RETRY_AFTER_S = 60.0
_RETRIED = {429, 502, 503, 504}


@dataclass(frozen=True)
class Verdict:
    """What to do after one try: take the answer, or wait `pause_s` and try again."""

    response: httpx.Response | None = None
    pause_s: float = 0.0


def after_answer(response: httpx.Response, *, number: int) -> Verdict:
    """What to do after the try with that number, from 0, was answered.

    Raises `RequestRefused` for a problem that another try would meet again, or that comes after the last
    try, or that asks for a wait of over a minute.
    """
    if not response.is_error:
        return Verdict(response)
    refused = refusal_of(response)
    busy = response.status_code in _RETRIED or refused.problem.code == "idempotency_in_progress"
    asked = refused.retry_after_s or 0.0
    if not busy or number + 1 >= TRIES or asked > LONGEST_RETRY_AFTER_S:
        raise refused
    return Verdict(pause_s=max(backoff(number), asked))


def after_silence(url: str, error: httpx.TransportError, *, number: int) -> Verdict:
    """What to do after a try without an answer. Raises `Unreachable` after the last one."""
    if number + 1 >= TRIES:
        raise unreachable(url, error) from error
    return Verdict(pause_s=backoff(number))


def backoff(number: int) -> float:
    """Seconds to wait after the try with that number, from 0: doubling, with jitter."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**number)
    factor: float = secrets.SystemRandom().uniform(0.5, 1.0)
    return longest * factor


def unreachable(url: str, error: httpx.TransportError) -> Unreachable:
    """The error that says that `url` does not answer."""
    reason = str(error) or type(error).__name__
    return Unreachable(
        f"{url} does not answer ({reason}). Is the service running? Is the URL right?"
    )


def refusal_of(response: httpx.Response) -> RequestRefused:
    """The error that an unsuccessful answer stands for; its body must have been read."""
    return refusal(_problem_of(response), retry_after_s=_retry_after_s(response))


def _problem_of(response: httpx.Response) -> Problem:
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


def _retry_after_s(response: httpx.Response) -> float | None:
    """`Retry-After` in seconds, which comes as seconds or as a date (RFC 9110)."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdigit():
        return float(asked)
    try:
        at = parsedate_to_datetime(asked)
    except ValueError:
        return None
    # A date without a time zone counts as UTC.
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
