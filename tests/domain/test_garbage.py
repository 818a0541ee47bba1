from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from domain import artifacts, db, garbage, job_deletion
from domain.claims import Claim
from domain.errors import Unavailable
from domain.job_status import Status
from domain.store import ObjectStore
from domain.store_folder import FolderStore
from domain.tables import Attempt
from tests import lives, trainer_lines

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, settings: object) -> object:
    """What is left behind is garbage at once."""
    with lives.changed_settings(monkeypatch, garbage_after_s="0"):
        yield


def put(store: ObjectStore, prefix: str, *names: str) -> None:
    for name in names:
        store.put_if_absent(f"{prefix}/{name}", b"bytes", content_type="application/octet-stream")


def prefix_of(claim: Claim) -> str:
    return artifacts.attempt_prefix(claim.job_id, claim.attempt)


def left(store: ObjectStore, job_id: UUID) -> list[str]:
    prefix = f"{artifacts.job_prefix(job_id)}/"
    return [key.removeprefix(prefix) for key in store.list(prefix)]


def lost(claim: Claim) -> None:
    """The attempt's worker fell silent."""
    with db.transaction() as session:
        job = session.get_one(lives.Job, claim.job_id, with_for_update=True)
        lives.claims.lose(session, job)


def test_what_a_lost_attempt_stored_without_a_row_is_removed_when_the_job_is_over(
    store: ObjectStore,
) -> None:
    first = lives.training()
    lives.checkpointed(first, [10])
    put(store, prefix_of(first), "checkpoints/step-000010/adapter/adapter_model.safetensors")
    put(store, prefix_of(first), "checkpoints/step-000020/adapter/adapter_model.safetensors")
    put(store, prefix_of(first), "samples/half.mp4", "samples/base.mp4", "log.txt")
    with db.transaction() as session:
        holder = {"job_id": first.job_id, "attempt": first.attempt}
        key = f"{prefix_of(first)}/samples/base.mp4"
        artifacts.add_sample(session, **holder, line=trainer_lines.sample(), key=key)
        log = trainer_lines.file("log.txt")
        artifacts.add_log(session, **holder, key=f"{prefix_of(first)}/log.txt", file=log)
    lost(first)
    second = lives.claimed("worker-2")
    put(store, prefix_of(second), "sheet.png", "nobody.png")
    with db.transaction() as session:
        holder = {"job_id": second.job_id, "attempt": second.attempt}
        line = trainer_lines.sheet()
        artifacts.add_sheet(session, **holder, line=line, key=f"{prefix_of(second)}/sheet.png")
    assert garbage.sweep_objects(store) == 0
    lives.cancel(first.job_id)
    lives.ended(second, Status.CANCELLED)
    assert garbage.sweep_objects(store) == 3
    assert left(store, first.job_id) == [
        "attempts/1/checkpoints/step-000010/adapter/adapter_model.safetensors",
        "attempts/1/log.txt",
        "attempts/1/samples/base.mp4",
        "attempts/2/sheet.png",
    ]
    assert garbage.sweep_objects(store) == 0
    with db.read() as session:
        assert all(row.swept_at is not None for row in session.query(Attempt))


def test_attempts_are_left_alone_until_their_uploads_are_surely_over(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = lives.training()
    put(store, prefix_of(claim), "samples/half.mp4")
    lives.ended(claim, Status.FAILED, error=lives.BROKEN)
    with lives.changed_settings(monkeypatch, garbage_after_s="3600"):
        assert garbage.sweep_objects(store) == 0
    assert garbage.sweep_objects(store) == 1


def test_a_deleted_job_leaves_no_object_behind(store: ObjectStore) -> None:
    job, other = lives.succeeded(), lives.succeeded()
    for each in (job, other):
        put(store, artifacts.attempt_prefix(each.id, 1), "adapter/adapter_model.safetensors", "a")
    with db.transaction() as session:
        job_deletion.delete(session, project_id=job.project_id, job_id=job.id)
    garbage.sweep_objects(store)
    assert left(store, job.id) == []
    assert left(store, other.id) == ["attempts/1/adapter/adapter_model.safetensors"]
    assert lives.now(job.id).purged_at is not None


def test_an_interrupted_sweep_is_finished_by_the_next(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = lives.succeeded()
    put(store, artifacts.attempt_prefix(job.id, 1), *(f"samples/{n}.mp4" for n in range(4)))
    with db.transaction() as session:
        job_deletion.delete(session, project_id=job.project_id, job_id=job.id)
        session.execute(text("UPDATE attempts SET swept_at = clock_timestamp()"))
    with monkeypatch.context() as cut_off:
        cut_off.setattr(FolderStore, "delete", refuses_after(2, FolderStore.delete))
        assert garbage.sweep_objects(store) == 0
    assert lives.now(job.id).purged_at is None
    assert garbage.sweep_objects(store) == 2
    assert left(store, job.id) == []


def refuses_after(count: int, delete: object) -> object:
    """A store's `delete` that works `count` times and then cannot be reached."""
    done = []

    def limited(self: FolderStore, key: str) -> None:
        if len(done) >= count:
            raise Unavailable("The store is away.")
        done.append(key)
        delete(self, key)  # type: ignore[operator]

    return limited


def test_the_list_of_an_adapters_files_stays_beside_it(store: ObjectStore) -> None:
    claim = lives.finalizing()
    put(store, prefix_of(claim), "manifest.json", "adapter/adapter_model.safetensors", "left.over")
    lives.ended(claim, Status.SUCCEEDED)
    assert garbage.sweep_objects(store) == 1
    assert left(store, claim.job_id) == [
        "attempts/1/adapter/adapter_model.safetensors",
        "attempts/1/manifest.json",
    ]
