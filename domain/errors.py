"""Expected failures as one tree of classes; the API turns each into a problem document (RFC 9457).

    DomainError
    |- NotFound               404  no such thing in this project
    |- ArtifactExpired        410  the row is there, its file is gone
    |- InvalidCursor          400  a page cursor that was not made for this list
    |- InvalidApiKey          401  no key, an unknown, wrong or revoked one
    |  |- ExpiredApiKey       401
    |  `- InvalidStreamToken  401  a token for streams that is not ours, has expired, or asks for else
    |- NotSignedIn            401  a session cookie that is unknown, ended or expired
    |- InvalidCredentials     401  email, password or project is wrong
    |- InvitationUnusable     401  an invitation that is unknown, used or expired
    |- CrossSiteRequest       403  a cookie on a request that another site may have made
    |- MissingScope           403  the key may not do this
    |- ProjectQuotaExhausted  403  the project has used up what it may use
    |- RateLimited            429  too many requests
    |- Conflict               409  the name is taken
    |- InvalidTransition      409  the job's status does not allow this
    |- CeilingReached         409  a paused job's budget has no room to go on
    |- CountMismatch          409  the action would meet another number of things than expected
    |- InUse                  409  something else still needs what was to be deleted
    |- SpecHashMismatch       409  the spec is not the one that was expected
    |- IdempotencyInProgress  409  the first request with this key still runs
    |- EtagMismatch           412  it was changed since it was read
    |- PreconditionRequired   428  what is there may be changed by its ETag only
    |- EstimateExceedsLimit   422  the job is estimated to cost more than was expected
    |- DoesNotFitGpu          422  no worker has the memory that the job takes
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


class NotSignedIn(DomainError):
    """The session cookie is unknown, or its session has ended or expired."""

    code, status, title = "not_signed_in", 401, "Sign in again"


class InvalidCredentials(DomainError):
    """Email, password or project is wrong; which of them is not told."""

    code, status, title = "invalid_credentials", 401, "Email, password or project is wrong"


class InvitationUnusable(DomainError):
    """The invitation is unknown, was used or has expired."""

    code, status, title = "invitation_unusable", 401, "This invitation cannot be used"


class CrossSiteRequest(DomainError):
    """A request with a session cookie changes something and does not prove that our own pages made it."""

    code, status, title = "cross_site_request", 403, "This request may come from another site"


class RateLimited(DomainError):
    """Too many requests in too short a time. `Retry-After` and `RateLimit` say when to go on."""

    code, status, title = "rate_limited", 429, "Too many requests"
    retryable = True

    def __init__(self, detail: str, *, policy: str, retry_after_s: int) -> None:
        super().__init__(detail, policy=policy)
        self.retry_after_s = retry_after_s


class InvalidStreamToken(InvalidApiKey):
    """The `token` of a stream is not ours, has expired, or was sent to what is no stream."""

    code, title = "invalid_stream_token", "A valid stream token is needed"


class MissingScope(DomainError):
    """The API key may not do this. `extra["scope"]` names what it lacks."""

    code, status, title = "missing_scope", 403, "This API key may not do that"


class ProjectQuotaExhausted(DomainError):
    """The project has used up a quota. The extras name the `quota`, its `limit`, what is `used`, and
    when it `resets_at` (None: when something is ended or removed)."""

    code, status, title = "project_quota_exhausted", 403, "The project has used up a quota"


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


class SpecHashMismatch(DomainError):
    """The resolved spec is not the one that `expect` names, say of a dry run. The extras
    `expected_spec_hash` and `actual_spec_hash` have both; nothing was created."""

    code, status, title = "spec_hash_mismatch", 409, "The resolved spec is another than expected"


class EtagMismatch(DomainError):
    """It was changed since the answer whose `ETag` the header `If-Match` names. Read it again."""

    code, status, title = "etag_mismatch", 412, "It was changed in the meantime"


class PreconditionRequired(DomainError):
    """What is there may be changed only by those who name its `ETag` in `If-Match`. Read it first."""

    code, status, title = "precondition_required", 428, "Name the state that you want to change"


class EstimateExceedsLimit(DomainError):
    """The job is estimated to cost more than `expect.max_estimated_cost`, or what it costs is not known.
    The extra `estimated_cost` is the median, null where it is not known; nothing was created."""

    code, status, title = "estimate_exceeds_limit", 422, "The estimate exceeds the limit"


class DoesNotFitGpu(DomainError):
    """No worker has a GPU with the memory that the job takes. The extras name `needs_gib`, its parts in
    `breakdown`, and the `hardware` that there is; nothing was created."""

    code, status, title = "does_not_fit_gpu", 422, "The job does not fit any worker's GPU"


class CeilingReached(DomainError):
    """The job is paused at a ceiling of its budget. `ceilings` names what to raise before it can go on."""

    code, status, title = "ceiling_reached", 409, "A ceiling of the budget is reached"


class CountMismatch(DomainError):
    """The action would meet another number of things than `expected_count`: `count`. Nothing was done."""

    code, status, title = "count_mismatch", 409, "Another number of things would be met"

    def __init__(self, detail: str, *, count: int, expected_count: int) -> None:
        super().__init__(detail, count=count, expected_count=expected_count)


class InUse(DomainError):
    """Something else still needs this. `used_by` names what."""

    code, status, title = "in_use", 409, "Something else still needs this"

    def __init__(self, detail: str, *, used_by: Sequence[str]) -> None:
        super().__init__(detail, used_by=list(used_by))


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
