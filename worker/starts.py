"""Brings what a job starts from, another job's adapter or checkpoint, into the attempt's folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from domain.claims import Claim
from domain.errors import ArtifactExpired, ChecksumMismatch
from domain.init_from import Start
from domain.job_errors import JobError
from domain.store import ObjectStore
from worker import transfer
from worker.workspace import Workspace

_OPTIONS = {"weights": "--init-adapter", "full": "--init-checkpoint"}


class StartLost(Exception):
    """The store no longer has the start as its record says; `error` is what the attempt ends with."""

    def __init__(self, start: Start, reason: Exception) -> None:
        super().__init__(start.id, reason)
        self.error = JobError(
            code="start_lost",
            message=f"The {start.kind} {start.id} to start from cannot be used: {reason}",
            hint="Create the job again with another adapter or checkpoint in `init_from`.",
            retryable=False,
        )


def fetch_start(
    claim: Claim, space: Workspace, store: ObjectStore, *, give_up: Callable[[], bool]
) -> list[str]:
    """The trainer's options that name the start, its files fetched and each checked by its sha256.

    None for a job that starts from the base model. Raises `StartLost`, and `Unavailable` when the store
    stays away until `give_up()`.
    """
    if claim.init_from is None:
        return []
    start = Start.model_validate(claim.init_from)
    for file in start.files:
        try:
            path = transfer.inside(space.start, file.path)
            key = f"{start.prefix}/{file.path}"
            fetch = partial(store.download, key, path, sha256=file.sha256)
            transfer.while_away(fetch, give_up=give_up)
        except (ChecksumMismatch, ArtifactExpired) as error:
            raise StartLost(start, error) from error
    return [_OPTIONS[start.state], str(space.start)]
