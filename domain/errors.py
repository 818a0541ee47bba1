"""Expected failures as one tree of classes; the API turns each into a problem document (RFC 9457).

    DomainError
    |- NotFound               404  no such thing in this project
    |- ArtifactExpired        410  the row is there, its file is gone
    |- InvalidCursor          400  a page cursor that was not made for this list
    |- InvalidApiKey          401  no key, an unknown, wrong or revoked one
    |  `- ExpiredApiKey       401
    |- MissingScope           403  the key may not do this
    |- Conflict               409  the name is taken
    |- InvalidTransition      409  the job's status does not allow this
    |- IdempotencyInProgress  409  the first request with this key still runs
    |- IdempotencyKeyReused   422  the key was used with another request
    |- ValidationFailed       422  faulty input, every fault at once
    |- ChecksumMismatch       500  stored bytes are not those that were announced
    |- Unavailable            503  database or store cannot be reached now
    `- StaleAttempt           409  a worker's write without the lease; never shown to clients

All of them can be pickled: they cross process borders in the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import JsonValue

from vader_core.faults import Fault


class DomainError(Exception):
    """The service cannot do what was asked. `detail` says why; `extra` are further problem fields."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: str = "Something went wrong"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", **extra: JsonValue) -> None:
        super().__init__(detail)
        self.detail, self.extra = detail, extra

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__))


def _rebuild(kind: type[DomainError], fields: dict[str, object]) -> DomainError:
    error = kind.__new__(kind)
    Exception.__init__(error, fields.get("detail", ""))
    error.__dict__.update(fields)
    return error


class NotFound(DomainError):
    """No such thing in this project; also for what belongs to another project."""

    code, status, title = "not_found", 404, "There is no such thing"


class ArtifactExpired(DomainError):
    """The row is there, its file is gone."""

    code, status, title = "artifact_expired", 410, "This file is no longer kept"


class InvalidCursor(DomainError):
    """The cursor was not made by this list with these filters."""

    code, status, title = "invalid_cursor", 400, "The cursor does not belong to this list"


class InvalidApiKey(DomainError):
    """No API key, or one that is malformed, unknown, wrong or revoked."""

    code, status, title = "invalid_api_key", 401, "A valid API key is needed"


class ExpiredApiKey(InvalidApiKey):
    """The API key was valid until some time ago."""

    code, title = "expired_api_key", "This API key has expired"


class MissingScope(DomainError):
    """The API key may not do this. `extra["scope"]` names what it lacks."""

    code, status, title = "missing_scope", 403, "This API key may not do that"


class Conflict(DomainError):
    """What was asked for clashes with what is there, for example a name that is taken."""

    code, status, title = "conflict", 409, "This clashes with what is already there"


class InvalidTransition(DomainError):
    """The job's status does not allow this."""

    code, status, title = "invalid_transition", 409, "The job's status does not allow this"

    def __init__(self, detail: str, *, current_status: str, allowed_actions: Sequence[str]) -> None:
        super().__init__(
            detail, current_status=current_status, allowed_actions=list(allowed_actions)
        )
        self.current_status = current_status


class IdempotencyInProgress(DomainError):
    """The first request with this Idempotency-Key is still being worked on."""

    code, status, retryable = "idempotency_in_progress", 409, True
    title = "A request with this Idempotency-Key is still running"


class IdempotencyKeyReused(DomainError):
    """This Idempotency-Key was used before with another request."""

    code, status = "idempotency_key_reused", 422
    title = "This Idempotency-Key was used with another request"


class ValidationFailed(DomainError):
    """The input has faults; `faults` holds every one of them with a JSON Pointer."""

    code, status = "validation_failed", 422

    def __init__(self, faults: Sequence[Fault], *, what: str = "request") -> None:
        super().__init__("Nothing was created and nothing was spent.")
        self.faults = list(faults)
        count = len(self.faults)
        self.title = f"The {what} has {count} problem{'' if count == 1 else 's'}"


class ChecksumMismatch(DomainError):
    """The bytes are not those whose sha256 was announced."""

    code, status, title = "checksum_mismatch", 500, "The bytes do not match their sha256"


class Unavailable(DomainError):
    """Database, queue or object store cannot be reached now."""

    code, status, title = "unavailable", 503, "The service cannot answer right now"
    retryable = True
    retry_after_s: ClassVar[int] = 5


class StaleAttempt(DomainError):
    """The attempt no longer holds the job's lease: its write was refused and nothing changed.

    Whoever gets this must stop the attempt's processes at once.
    """

    code, status, title = "stale_attempt", 409, "This attempt no longer holds the job"
