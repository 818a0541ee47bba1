"""What can go wrong on the client's side, as one tree of classes.

VaderError
|- NotConfigured      no URL or no API key is known
|- BadArgument        what was given cannot be part of a request (an empty id)
|- Unreachable        no answer from the service, also after retries
|- UnexpectedAnswer   an answer that is not of this API
|- WaitedTooLong      what was waited for has not ended within the time given; it goes on
|- RequestRefused     the service answered with a problem (RFC 9457)
|  |- Unauthorized    401, 403: the key is unknown, revoked, or lacks a scope; a quota is used up
|  |- NotFound        404: not there, or of another project
|  |- Conflict        409: not possible now
|  |  |- WrongStatus  the job's status does not allow it; `allowed_actions` says what it allows
|  |  |- SpecChanged  `expect` named another spec than the one that would be run
|  |  `- Stale        412, 428: changed by someone else since it was read; read it again
|  |- Gone            410: the file has expired; the job itself stays
|  |- Invalid         400, 413, 415, 422: the request is at fault; `faults` names every fault
|  |  `- TooExpensive `expect` named a lower cost than the estimate
|  `- Busy            429, 503: try again after `retry_after_s`
|- NothingYet         the job has not yielded what is asked for, or not yet
|  `- NoAdapter       no adapter
|- FileUnusable       a file to read or to write is malformed or out of reach
`- DownloadCorrupt    a downloaded file is not the one the service described
"""

from __future__ import annotations

from client.models import Fault, Problem


class VaderError(Exception):
    """Whatever this package raises on purpose."""


class NotConfigured(VaderError):
    """No URL or no API key is known."""


class BadArgument(VaderError, ValueError):
    """What was given cannot be part of a request."""


class Unreachable(VaderError):
    """No answer from the service, also after retries."""


class UnexpectedAnswer(VaderError):
    """An answer that is not of this API: the URL is perhaps that of something else."""


class WaitedTooLong(VaderError):
    """What was waited for has not ended within the time given. It goes on."""


class NothingYet(VaderError):
    """The job has not yielded what is asked for, or not yet."""


class NoAdapter(NothingYet):
    """The job has yielded no adapter, or not yet."""


class FileUnusable(VaderError):
    """A file to read or to write is malformed or out of reach."""


class DownloadCorrupt(VaderError):
    """A downloaded file differs from its description in size or sha256; it was not kept."""


class RequestRefused(VaderError):
    """The service answered with a problem. `retry_after_s` is what it said about when to come again."""

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(problem)
        self.problem, self.retry_after_s = problem, retry_after_s

    @property
    def faults(self) -> list[Fault]:
        """Every fault of the request that the service found."""
        return self.problem.errors

    def __str__(self) -> str:
        lines = [f"{self.problem.title} ({self.problem.status} {self.problem.code})"]
        if self.problem.detail:
            lines.append(self.problem.detail)
        lines += [f"{fault.place}: {fault.detail}" for fault in self.faults]
        return "\n".join(lines)


class Unauthorized(RequestRefused):
    """The API key is unknown, revoked or expired, lacks a scope, or the project's quota is used up."""


class NotFound(RequestRefused):
    """There is no such thing in this key's project."""


class Conflict(RequestRefused):
    """Not possible now."""


class WrongStatus(Conflict):
    """The job's status does not allow it."""

    @property
    def allowed_actions(self) -> list[str]:
        """What the job's status allows."""
        return self.problem.allowed_actions


class SpecChanged(Conflict):
    """The spec that would be run is another one than `expect` names; nothing was created."""


class Stale(Conflict):
    """Changed by someone else since it was read; nothing was changed."""


class Gone(RequestRefused):
    """The file has expired."""


class Invalid(RequestRefused):
    """The request is at fault."""


class TooExpensive(Invalid):
    """The estimate is above what `expect` allows; nothing was created."""


class Busy(RequestRefused):
    """The service asks to try again later."""


_BY_CODE: dict[str, type[RequestRefused]] = {
    "invalid_transition": WrongStatus,
    "spec_hash_mismatch": SpecChanged,
    "estimate_exceeds_limit": TooExpensive,
}
_BY_STATUS: dict[int, type[RequestRefused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: Stale,
    413: Invalid,
    428: Stale,
    415: Invalid,
    422: Invalid,
    429: Busy,
    503: Busy,
}


def refusal(problem: Problem, *, retry_after_s: float | None = None) -> RequestRefused:
    """The error that stands for `problem`."""
    kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status, RequestRefused)
    return kind(problem, retry_after_s=retry_after_s)
