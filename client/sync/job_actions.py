# Generated from client/aio/job_actions.py by `python -m tests.sync_client`. Do not edit.
"""What can be done to a job, and jobs that go on from another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from client.answers import given
from client.models import BatchCancelled, Job
from client.paths import at
from client.sync.calls import Calls


class JobActionCalls(Calls):
    """Actions. All raise `WrongStatus`, with the actions that are possible, where the job's status does
    not allow it. Repeated with the same `idempotency_key` they act once."""

    def update_job(
        self,
        job: Job | str,
        *,
        name: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        priority: str | None = None,
        budget: Mapping[str, JsonValue] | None = None,
    ) -> Job:
        """Changes what is given of a job: its name, labels (None takes one away), priority, or ceilings.

        Given a `Job` that `job()` has read it raises `Stale` where someone has changed it since; given an
        id it changes the job as it is now.
        """
        if isinstance(job, str) or job.etag is None:
            job_id = job if isinstance(job, str) else job.id
            job = self._get(Job, at("/v1/jobs/{}", job_id))
        changes = given({"name": name, "labels": labels, "priority": priority, "budget": budget})
        return self._patch(Job, at("/v1/jobs/{}", job.id), changes, etag=job.etag)

    def delete_job(self, job_id: str) -> Job:
        """Removes what an ended job has made; the job itself can still be read, with `deleted_at`."""
        return self._delete_kept(Job, at("/v1/jobs/{}", job_id))

    def cancel_job(
        self, job_id: str, *, keep_adapter: bool = True, idempotency_key: str | None = None
    ) -> Job:
        """Asks for the end of a job; the adapter of its last step is kept unless `keep_adapter` is false."""
        path, body = at("/v1/jobs/{}/cancel", job_id), {"keep_adapter": keep_adapter}
        return self._post(Job, path, body, idempotency_key=idempotency_key)

    def pause_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Asks for a pause: the step is finished, everything stored, the GPU given back."""
        return self._post(Job, at("/v1/jobs/{}/pause", job_id), idempotency_key=idempotency_key)

    def resume_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Queues a paused job again. After a pause at a ceiling, raise that one by `update_job` first."""
        return self._post(Job, at("/v1/jobs/{}/resume", job_id), idempotency_key=idempotency_key)

    def retry_job(
        self,
        job_id: str,
        *,
        deadline_at: str | None = None,
        without_deadline: bool = False,
        idempotency_key: str | None = None,
    ) -> Job:
        """A new job with the spec of a failed one, from its newest checkpoint on.

        Its deadline is the old one, which may have passed: `deadline_at` (RFC 3339) is another, and
        `without_deadline` takes it away.
        """
        body: dict[str, JsonValue] = {"deadline_at": None} if without_deadline else {}
        body |= given({"deadline_at": deadline_at})
        path = at("/v1/jobs/{}/retry", job_id)
        return self._post(Job, path, body, idempotency_key=idempotency_key)

    def extend_job(  # noqa: PLR0913 (the request's fields)
        self,
        job_id: str,
        *,
        start: str = "best",
        state: str = "full",
        add_budget: Mapping[str, JsonValue] | None = None,
        overrides: Mapping[str, JsonValue] | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """A new job that goes on from an ended one.

        `start` is "best", "last" or a checkpoint's id; `state` "full" goes on with the optimiser and the
        counters, "weights" begins anew from the weights; `add_budget` is what it may use beyond what was
        used; `overrides` is a JSON merge patch (RFC 7396) onto the spec.
        """
        optional = {"add_budget": add_budget, "overrides": overrides, "name": name}
        body: dict[str, Any] = {"from": start, "state": state, **given(optional)}
        path = at("/v1/jobs/{}/extend", job_id)
        return self._post(Job, path, body, idempotency_key=idempotency_key)

    def cancel_jobs(
        self,
        *,
        expected_count: int,
        ids: Sequence[str] | None = None,
        matching: Mapping[str, JsonValue] | None = None,
        keep_adapter: bool = True,
        idempotency_key: str | None = None,
    ) -> BatchCancelled:
        """Cancels the jobs with these ids, or all that match, if there are just `expected_count` of them.

        `matching` takes what `jobs()` can filter by. Raises `Conflict` for another count; none is
        cancelled then.
        """
        body = {
            **given({"ids": ids and list(ids), "filter": matching}),
            "expected_count": expected_count,
            "keep_adapter": keep_adapter,
        }
        path = at("/v1/jobs/batch-cancel")
        return self._post(BatchCancelled, path, body, idempotency_key=idempotency_key)
