"""What can go wrong on the client's side, as one tree of classes.

VaderError
|- NotConfigured      no URL or no API key is known
|- Unreachable        no answer from the service, also after retries
|- UnexpectedAnswer   an answer that is not of this API
|- RequestRefused     the service answered with a problem (RFC 9457)
|  |- Unauthorized    401, 403: the key is unknown, revoked, or lacks a scope
|  |- NotFound        404: not there, or of another project
|  |- Conflict        409, 412: not possible in the job's present status
|  |- Gone            410: the file has expired; the job itself stays
|  |- Invalid         400, 413, 415, 422: the request is at fault; `faults` names every fault
|  `- Busy            429, 503: try again later
|- NoAdapter          the job has yielded no adapter, or not yet
|- FileUnusable       a file to read or to write is malformed or out of reach
`- DownloadCorrupt    a downloaded file is not the one the service described
"""

from __future__ import annotations

from client.models import Fault, Problem


class VaderError(Exception):
    """Whatever this package raises on purpose."""


class NotConfigured(VaderError):
    """No URL or no API key is known."""


class Unreachable(VaderError):
    """No answer from the service, also after retries."""


class UnexpectedAnswer(VaderError):
    """An answer that is not of this API: the URL is perhaps that of something else."""


class NoAdapter(VaderError):
    """The job has yielded no adapter, or not yet."""


class FileUnusable(VaderError):
    """A file to read or to write is malformed or out of reach."""


class DownloadCorrupt(VaderError):
    """A downloaded file differs from its description in size or sha256; it was not kept."""


class RequestRefused(VaderError):
    """The service answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    @property
    def faults(self) -> list[Fault]:
        """Every fault of the request that the service found."""
        return self.problem.errors

    def __str__(self) -> str:
        lines = [f"{self.problem.title} ({self.problem.status} {self.problem.code})"]
        if self.problem.detail:
            lines.append(self.problem.detail)
        lines += [f"{fault.pointer}: {fault.detail}" for fault in self.faults]
        return "\n".join(lines)


class Unauthorized(RequestRefused):
    """The API key is unknown, revoked or expired, or lacks a scope."""


class NotFound(RequestRefused):
    """There is no such thing in this key's project."""


class Conflict(RequestRefused):
    """Not possible in the present status; `problem` may carry `allowed_actions`."""


class Gone(RequestRefused):
    """The file has expired."""


class Invalid(RequestRefused):
    """The request is at fault."""


class Busy(RequestRefused):
    """The service asks to try again later."""


_BY_STATUS: dict[int, type[RequestRefused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Busy,
    503: Busy,
}


def refusal(problem: Problem) -> RequestRefused:
    """The error that stands for `problem`."""
    return _BY_STATUS.get(problem.status, RequestRefused)(problem)
