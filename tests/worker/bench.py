"""A workplace for tests: a project, its jobs, and a worker that makes one attempt at a time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from domain import artifacts, claims, db, events, jobs, projects, uploads
from domain.callers import Origin
from domain.ids import new_id, to_public
from domain.settings import Settings
from domain.store import ObjectStore
from domain.tables import Adapter, Job
from tests.worker.specs import small_spec
from tests.worker.waiting import wait_until
from worker import orphans
from worker.attempt import Attempt, Surroundings


class Bench:
    """A project, and a worker that runs one attempt at a time in this thread."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self.settings, self.store = settings, store
        self.drain = threading.Event()
        with db.transaction() as session:
            self.project_id = projects.create(session, name="tests").id

    def submit(self, **changes: Any) -> UUID:
        spec = small_spec(**changes)
        with db.transaction() as session:
            job = jobs.create(
                session,
                spec=spec,
                asked_spec=spec.model_dump(mode="json"),
                origin=Origin(project_id=self.project_id, trace_id=""),
            )
        return job.id

    def upload(self, data: bytes, content_type: str = "image/png") -> str:
        """The id of an upload with these bytes, which nobody looks at."""
        upload_id, sha256 = new_id(), hashlib.sha256(data).hexdigest()
        path = self.settings.work_dir / "upload"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        key = uploads.object_key(upload_id)
        self.store.put_file(key, path, sha256=sha256, content_type=content_type)
        file = uploads.Received(path, "upload", content_type, sha256, len(data))
        with db.transaction() as session:
            uploads.add(session, upload_id=upload_id, project_id=self.project_id, file=file)
        return to_public("upl", upload_id)

    def attempt(self) -> None:
        """One attempt at the job that waits."""
        asked_at = time.monotonic()
        with db.transaction() as session:
            claim = claims.claim(session, worker="tests:1", hardware="CPU")
        assert claim is not None
        around = Surroundings(settings=self.settings, store=self.store, drain=self.drain)
        Attempt(claim, around, held_since=asked_at).run()
        assert not [pid for pid, mark in orphans.marked() if mark.job_id == str(claim.job_id)]
        assert not list((self.settings.work_dir / "attempts").glob("*"))

    def job(self, job_id: UUID) -> Job:
        with db.read() as session:
            return jobs.get(session, project_id=self.project_id, job_id=job_id)

    def told(self, job_id: UUID) -> list[str]:
        with db.read() as session:
            return [event.type for event in events.list_after(session, job_id=job_id, limit=1000)]

    def adapter(self, job_id: UUID) -> Adapter:
        with db.read() as session:
            adapter = artifacts.adapter_of(session, job_id=job_id)
        assert adapter is not None
        return adapter

    def weights(self, job_id: UUID) -> str:
        """The published weights, checked against the sha256 of their record."""
        adapter = self.adapter(job_id)
        contents = {}
        for file in adapter.files:
            with self.store.open(f"{adapter.prefix}/{file['path']}") as stream:
                contents[file["path"]] = stream.read()
            assert hashlib.sha256(contents[file["path"]]).hexdigest() == file["sha256"]
        return contents["adapter_model.safetensors"].decode()

    def cancel(self, job_id: UUID, *, keep_adapter: bool = True) -> None:
        with db.transaction() as session:
            jobs.request_cancel(
                session, project_id=self.project_id, job_id=job_id, keep_adapter=keep_adapter
            )

    def when_at_step(self, job_id: UUID, step: int, act: Callable[[], None]) -> threading.Thread:
        """Does `act` in another thread as soon as the job's record is at `step`."""

        def wait_and_act() -> None:
            wait_until(lambda: self.job(job_id).step >= step, within_s=60)
            act()

        thread = threading.Thread(target=wait_and_act)
        thread.start()
        return thread


def expected_weights(seed: int, steps: int) -> str:
    """What the line trainer's weights are after `steps` uninterrupted steps."""
    weights = hashlib.sha256(str(seed).encode()).hexdigest()
    for step in range(1, steps + 1):
        weights = hashlib.sha256(f"{weights}{step}".encode()).hexdigest()
    return weights
