"""What a job has left behind so far: events, log, curves, evaluations, attempts, checkpoints, samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client.aio.calls import Calls, Listing
from client.aio.downloads import fetch
from client.models import (
    Adapter,
    AttemptRecord,
    Checkpoint,
    Evaluations,
    Event,
    File,
    Metrics,
    Page,
    Sample,
    Sheet,
)
from client.paths import at


class JobHistoryCalls(Calls):
    """Reads of one job's parts, and a checkpoint made an adapter."""

    async def event_page(
        self, job_id: str, *, after: int = 0, types: Sequence[str] = (), limit: int = 100
    ) -> Page[Event]:
        """At most `limit` events with a number above `after`; `events` gives all of them as they come."""
        params = {"after": after, "type": list(types), "limit": limit}
        return await self._get(Page[Event], at("/v1/jobs/{}/events", job_id), params=params)

    async def logs(
        self, job_id: str, *, attempt: int | None = None, tail: int | None = None
    ) -> str:
        """What the trainer wrote in its latest or that attempt, or the last `tail` lines of it."""
        params = {"attempt": attempt, "tail": tail}
        return await self._text(at("/v1/jobs/{}/logs", job_id), params=params)

    async def metrics(
        self,
        job_id: str,
        *,
        keys: Sequence[str] = (),
        x: str = "step",
        start: float | None = None,
        end: float | None = None,
        max_points: int | None = None,
    ) -> Metrics:
        """The job's curves over `x` (step, reward_queries, gpu_seconds or wall_s), thinned by the service
        to at most `max_points` each."""
        params = {
            "key": list(keys) or None,
            "x": x,
            "from": start,
            "to": end,
            "max_points": max_points,
        }
        return await self._get(Metrics, at("/v1/jobs/{}/metrics", job_id), params=params)

    async def evaluation(self, job_id: str) -> Evaluations:
        """All evaluations on the held-out prompts, oldest first."""
        return await self._get(Evaluations, at("/v1/jobs/{}/evaluation", job_id))

    async def attempts(self, job_id: str) -> list[AttemptRecord]:
        """The tries of workers at the job, first to latest."""
        return (await self._get(Page[AttemptRecord], at("/v1/jobs/{}/attempts", job_id))).data

    def checkpoints(self, job_id: str) -> Listing[Checkpoint]:
        """The job's stored states, newest first."""
        return self._list(Checkpoint, at("/v1/jobs/{}/checkpoints", job_id))

    async def checkpoint(self, job_id: str, checkpoint_id: str) -> Checkpoint:
        """One stored state."""
        path = at("/v1/jobs/{}/checkpoints/{}", job_id, checkpoint_id)
        return await self._get(Checkpoint, path)

    async def promote(
        self, job_id: str, checkpoint_id: str, *, idempotency_key: str | None = None
    ) -> Adapter:
        """Makes the weights of a checkpoint an adapter of its own."""
        path = at("/v1/jobs/{}/checkpoints/{}/promote", job_id, checkpoint_id)
        return await self._post(Adapter, path, idempotency_key=idempotency_key)

    async def samples(
        self, job_id: str, *, step: int | None = None, prompt_id: str | None = None
    ) -> list[Sample]:
        """The kept videos of the held-out prompts, in pairs of base and adapter."""
        params = {"step": step, "prompt_id": prompt_id}
        return (
            await self._get(Page[Sample], at("/v1/jobs/{}/samples", job_id), params=params)
        ).data

    async def download_sample(self, sample: Sample, *, to: Path) -> Path:
        """Downloads a kept video to the path `to`, checked by its sha256."""
        renew = at("/v1/samples/{}/video", sample.id)
        url = sample.url or await self._transport.location(renew)
        file = File(path=to.name, size_bytes=sample.size_bytes, sha256=sample.sha256, url=url)
        return await fetch(self._transport, file, to=to, renew=renew)

    async def download_sheet(self, job_id: str, sheet: Sheet, *, to: Path) -> Path:
        """Downloads a job's contact sheet to the path `to`, checked by its sha256."""
        path = at("/v1/jobs/{}/sheet", job_id)
        link = await self._transport.location(path)
        file = File(path=to.name, size_bytes=sheet.size_bytes, sha256=sheet.sha256, url=link)
        return await fetch(self._transport, file, to=to, renew=path)
