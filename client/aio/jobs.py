"""Jobs: planned, made, looked at, waited for, compared."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from client.aio.basics import sleep
from client.aio.calls import Calls, Listing
from client.errors import Busy, Unreachable, WaitedTooLong
from client.models import Comparison, DryRun, Job, JobTransitions
from client.paths import at
from client.retries import backoff

_WAIT_S = 30
# The service holds its answer back until the end of the job only: other statuses have to be looked for.
_LOOK_S = 3
_GIVE_UP_S = 180.0


class JobCalls(Calls):
    """What does not change a job that is there."""

    async def dry_run(self, spec: Mapping[str, JsonValue]) -> DryRun:
        """What `create_job(spec)` would make and take. Nothing is made.

        Raises `Invalid` with every fault of the spec.
        """
        return await self._post(DryRun, at("/v1/jobs/dry-run"), spec)

    async def create_job(
        self,
        spec: Mapping[str, JsonValue],
        *,
        expect: DryRun | str | None = None,
        max_cost: Mapping[str, JsonValue] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Creates a job from `spec`. The same `idempotency_key` again gives the same job again.

        With `expect` only the very job that this dry run (or its `spec_hash`) showed is made, else `SpecChanged` is raised; with
        `max_cost` ({"amount": "12.50", "currency": "USD"}) only one whose estimate is not above it, else
        `TooExpensive`. Raises `Invalid` with every fault of the spec. Then nothing was created.
        """
        bounds: dict[str, JsonValue] = {}
        if expect is not None:
            bounds["spec_hash"] = expect if isinstance(expect, str) else expect.spec_hash
        if max_cost is not None:
            bounds["max_estimated_cost"] = dict(max_cost)
        body = {**spec, "expect": bounds} if bounds else spec
        return await self._post(Job, at("/v1/jobs"), body, idempotency_key=idempotency_key)

    async def job(self, job_id: str, *, wait_s: int = 0) -> Job:
        """The job as it is now, or once it has ended but at most `wait_s` (up to 60) later."""
        return await self._get(Job, at("/v1/jobs/{}", job_id), wait_s=wait_s)

    def jobs(  # noqa: PLR0913 (the list's filters)
        self,
        *,
        status: Sequence[str] = (),
        base_model: str | None = None,
        method: str | None = None,
        reward: str | None = None,
        template: str | None = None,
        parent: str | None = None,
        created_by: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
        oldest_first: bool = False,
    ) -> Listing[Job]:
        """This project's jobs, newest first unless told otherwise, without their specs. `text` is a part of the name."""
        wanted: dict[str, Any] = {
            "status": list(status) or None,
            "base_model": base_model,
            "method": method,
            "reward": reward,
            "template": template,
            "parent": parent,
            "created_by": created_by,
            "created_after": created_after and created_after.isoformat(),
            "created_before": created_before and created_before.isoformat(),
            "q": text,
            "sort": "created_at" if oldest_first else None,
            **{f"label.{name}": value for name, value in (labels or {}).items()},
        }
        return self._list(Job, at("/v1/jobs"), wanted)

    async def wait(
        self, job_id: str, *, until: Sequence[str] = ("paused",), timeout_s: float | None = None
    ) -> Job:
        """The job once it has ended, or has one of the statuses `until`.

        A paused job waits for somebody, which is why a pause ends the waiting unless told otherwise by
        `until=()`. Bears a service that is away for up to three minutes. Raises `WaitedTooLong` after
        `timeout_s`.
        """
        longest = _LOOK_S if until else _WAIT_S
        began, failures, failing_since = time.monotonic(), 0, 0.0
        while True:
            left = longest if timeout_s is None else timeout_s - (time.monotonic() - began)
            try:
                job = await self.job(job_id, wait_s=max(0, min(longest, int(left))))
                failures = 0
            except (Unreachable, Busy):
                failing_since = failing_since if failures else time.monotonic()
                if time.monotonic() - failing_since > _GIVE_UP_S or left <= 0:
                    raise
                await sleep(backoff(failures))
                failures += 1
                continue
            if job.terminal or job.status in until:
                return job
            if left <= 0:
                raise WaitedTooLong(f"Job {job_id} is {job.status} after {timeout_s:.0f} s.")

    async def job_transitions(self) -> JobTransitions:
        """The states of a job, where each may lead, and what may be asked of a job in it."""
        return await self._get(JobTransitions, at("/v1/job-transitions"))

    async def compare_jobs(
        self, job_ids: Sequence[str], *, key: str | None = None, x: str | None = None
    ) -> Comparison:
        """Jobs side by side: the metric `key` at equal `x`: step, reward_queries, gpu_seconds or wall_s."""
        params = {"ids": ",".join(job_ids), "key": key, "x": x}
        return await self._get(Comparison, at("/v1/jobs/compare"), params=params)
