from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from domain import adapter_registry, artifacts, db, events, init_from
from domain.claims import Claim
from domain.errors import NotFound
from domain.ids import to_public
from domain.tables import Adapter, Attempt, Checkpoint, Event, Sample
from tests import factories, lives, trainer_lines

pytestmark = pytest.mark.usefixtures("settings")


def holder(claim: Claim) -> dict[str, UUID | int]:
    return {"job_id": claim.job_id, "attempt": claim.attempt}


def checkpoints(claim: Claim) -> list[Checkpoint]:
    with db.read() as session:
        return artifacts.checkpoints(session, job_id=claim.job_id).items


def test_keys_lie_below_job_and_attempt() -> None:
    job_id = uuid4()
    assert artifacts.attempt_prefix(job_id, 2) == f"jobs/{to_public('job', job_id)}/attempts/2"


def test_a_finished_job_shows_all_it_yielded() -> None:
    job = lives.succeeded()
    with db.read() as session:
        samples = artifacts.samples(session, job_id=job.id)
        adapter = artifacts.adapter_of(session, job_id=job.id)
        assert [sample.role for sample in samples] == ["base", "adapter"]
        assert artifacts.samples(session, job_id=job.id, step=1) == []
        assert len(artifacts.samples(session, job_id=job.id, prompt_id="p_1")) == 2
        found = artifacts.sample(session, project_id=job.project_id, sample_id=samples[0].id)
        assert adapter is not None
        assert job.adapter_id == adapter.id
        adapter_registry.get(session, project_id=job.project_id, adapter_id=adapter.id)
    assert found.key.endswith("/attempts/1/samples/p_1-s11-base.mp4")
    assert adapter.prefix.endswith("/attempts/1/adapter")
    assert [file["path"] for file in adapter.files] == [
        "adapter_model.safetensors",
        "adapter_config.json",
    ]
    assert adapter.size_bytes == 20
    assert job.sheet is not None
    assert job.sheet["key"].endswith("/attempts/1/sheet.png")


def test_another_projects_things_are_not_found() -> None:
    job = lives.succeeded()
    stranger = uuid4()
    with db.read() as session:
        sample = artifacts.samples(session, job_id=job.id)[0]
        assert job.adapter_id is not None
        with pytest.raises(NotFound):
            artifacts.sample(session, project_id=stranger, sample_id=sample.id)
        with pytest.raises(NotFound):
            adapter_registry.get(session, project_id=stranger, adapter_id=job.adapter_id)


def test_a_sample_stored_again_keeps_its_id() -> None:
    claim = lives.training()
    added: list[Sample] = []
    for key in ("first", "second"):
        with db.transaction() as session:
            line = trainer_lines.sample()
            added.append(artifacts.add_sample(session, **holder(claim), line=line, key=key))
    assert added[0].id == added[1].id
    with db.read() as session:
        assert [s.key for s in artifacts.samples(session, job_id=claim.job_id)] == ["second"]


def test_checkpoints_are_told_and_the_oldest_are_given_up() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10, 20, 30])
    with db.transaction() as session:
        given_up = artifacts.prune_checkpoints(session, **holder(claim), keep_last=2)
    prefix = artifacts.attempt_prefix(claim.job_id, claim.attempt)
    assert given_up == [artifacts.GivenUp(f"{prefix}/checkpoints/step-000010", kept=None)]
    kept = checkpoints(claim)
    assert [(row.step, row.expired_at is None) for row in kept] == [
        (30, True),
        (20, True),
        (10, False),
    ]
    assert kept[0].files[0]["path"] == "adapter/adapter_model.safetensors"
    assert kept[0].counters == {
        "reward_queries": 240,
        "evaluation_queries": 4,
        "gpu_seconds": 60.0,
        "wall_clock_s": 90.0,
    }
    with db.read() as session:
        told = events.list_after(session, job_id=claim.job_id, types=["job.checkpoint_saved"])
    assert [event.data["checkpoint_id"] for event in told][-1] == to_public("ck", kept[0].id)


def test_a_checkpoint_made_again_by_a_later_attempt_takes_the_place_of_the_first() -> None:
    first = lives.training()
    lives.checkpointed(first, [10])
    with db.transaction() as session:
        lives.claims.release(session, **holder(first), reason="drained")
    second = lives.claimed()
    lives.checkpointed(second, [10])
    assert [(row.step, row.attempt) for row in checkpoints(second)] == [(10, 2)]
    assert "/attempts/2/" in checkpoints(second)[0].prefix


def test_a_second_adapter_takes_the_place_of_the_first_under_the_same_id() -> None:
    claim = lives.training()
    added: list[Adapter] = []
    for prefix in ("first", "second"):
        with db.transaction() as session:
            line = trainer_lines.done()
            added.append(artifacts.add_adapter(session, **holder(claim), line=line, prefix=prefix))
    assert added[0].id == added[1].id
    with db.read() as session:
        adapter = artifacts.adapter_of(session, job_id=claim.job_id)
    assert adapter is not None
    assert adapter.prefix == "second"


def test_the_adapter_that_an_early_stop_went_back_to_has_its_own_step() -> None:
    claim = lives.training()
    restored = trainer_lines.evaluation().model_copy(update={"adapter_step": 10})
    lives.told(claim, restored, trainer_lines.done())
    with db.transaction() as session:
        done = trainer_lines.done()
        adapter = artifacts.add_adapter(session, **holder(claim), line=done, prefix="k")
        assert (done.step, adapter.step) == (20, 10)
        told = session.scalars(select(Event).where(Event.type == "job.adapter_ready")).one()
        assert (told.step, told.message) == (10, "The adapter of step 10 is stored.")


def test_a_log_is_noted_on_its_attempt() -> None:
    claim = lives.training()
    with db.transaction() as session:
        file = trainer_lines.file("trainer.log")
        artifacts.add_log(session, **holder(claim), key="logs/1", file=file)
    with db.read() as session:
        attempt = session.get_one(Attempt, (claim.job_id, claim.attempt))
    assert attempt.log == {"key": "logs/1", "size_bytes": 10, "sha256": trainer_lines.SHA256}


def test_a_checkpoint_that_a_waiting_job_starts_from_is_not_given_up() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10, 20, 30])
    oldest = checkpoints(claim)[-1]
    with db.transaction() as session:
        start = init_from.of_checkpoint(oldest, state="full").model_dump(mode="json")
        waiting = factories.job(session, claim.project_id)
        waiting.init_from = start
    given_up = lives.pruned(claim, keep_last=1)
    prefix = artifacts.attempt_prefix(claim.job_id, claim.attempt)
    assert [old.prefix for old in given_up] == [f"{prefix}/checkpoints/step-000020"]
    lives.cancel(waiting.id)
    assert [old.prefix for old in lives.pruned(claim, keep_last=1)] == [oldest.prefix]


def test_a_checkpoint_that_is_set_aside_is_kept_in_place_of_no_other_and_becomes_no_adapter() -> (
    None
):
    first = lives.training()
    lives.checkpointed(first, [10, 20])
    with db.transaction() as session:
        lives.claims.release(session, **holder(first), reason="drained")
    second = lives.claimed()
    version = lives.now(second.job_id).version
    with db.transaction() as session:
        for step in (20, 10):
            artifacts.set_aside(session, **holder(second), step=step, message="It is broken.")
    assert lives.now(second.job_id).version > version
    lives.checkpointed(second, [5])
    assert lives.pruned(second, keep_last=1) == []
    lives.asked_to_pause(second.job_id)
    lives.paused(second)
    job = lives.cancel(second.job_id)
    with db.read() as session:
        adapter = artifacts.adapter_of(session, job_id=job.id)
        warnings = events.list_after(session, job_id=job.id, types=["job.warning"])
    assert adapter is not None
    assert adapter.step == 5
    assert [event.step for event in warnings] == [20, 10]


def test_what_a_job_shows_changes_when_a_checkpoint_is_given_up() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10, 20])
    version = lives.now(claim.job_id).version
    lives.pruned(claim, keep_last=2)
    assert lives.now(claim.job_id).version == version
    lives.pruned(claim, keep_last=1)
    assert lives.now(claim.job_id).version == version + 1


def test_a_checkpoint_before_the_first_step_becomes_no_adapter() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [0])
    lives.asked_to_pause(claim.job_id)
    lives.paused(claim)
    assert lives.cancel(claim.job_id).adapter_id is None


@pytest.mark.parametrize("keep_best", [True, False])
def test_the_best_checkpoint_is_kept_besides_the_last(keep_best: bool) -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10, 20, 30, 40])
    for step, reward in ((10, 0.6), (20, 0.9), (30, 0.7)):
        lives.told(claim, trainer_lines.evaluation(kind="periodic", step=step, reward=reward))
    with db.transaction() as session:
        artifacts.prune_checkpoints(session, **holder(claim), keep_last=1, keep_best=keep_best)
    kept = [row.step for row in checkpoints(claim) if row.expired_at is None]
    assert kept == ([40, 20] if keep_best else [40])
