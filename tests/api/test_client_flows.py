"""The Python client against the real API: what a team does with it from day to day."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from client import AsyncVaderClient, VaderClient
from client.errors import (
    Conflict,
    Invalid,
    NoAdapter,
    NotFound,
    SpecChanged,
    Stale,
    Unauthorized,
    WrongStatus,
)
from domain import api_keys
from domain.settings import Settings
from domain.store import open_store
from tests import lives
from tests.api import outputs
from tests.api.teams import Team
from tests.factories import document

Serve = Callable[[], AbstractContextManager[str]]


@pytest.fixture
def vader(serve: Serve, team: Team) -> Iterator[VaderClient]:
    with serve() as url, VaderClient(url, team.token) as client:
        yield client


def test_a_job_from_its_dry_run_to_its_end(vader: VaderClient) -> None:
    plan = vader.dry_run(document())
    with pytest.raises(SpecChanged):
        vader.create_job(document(seed=3), expect=plan)
    job = vader.create_job(document(), expect=plan, idempotency_key="once")
    assert vader.create_job(document(), expect=plan, idempotency_key="once").id == job.id
    assert job.spec_hash == plan.spec_hash
    assert [one.id for one in vader.jobs(status=["queued"], method="reward_gradient")] == [job.id]
    assert list(vader.jobs(labels={"team": "none"})) == []

    read = vader.job(job.id)
    renamed = vader.update_job(read, name="better", labels={"team": "ads"})
    assert (renamed.name, renamed.labels) == ("better", {"team": "ads"})
    with pytest.raises(Stale):
        vader.update_job(read, name="lost")
    assert vader.update_job(job.id, budget={"max_steps": 30}).budget.steps.limit == 30
    with pytest.raises(Invalid) as caught:
        vader.update_job(job.id, budget={"max_steps": 0, "max_cost": "?"})
    assert {fault.pointer.split("/")[2] for fault in caught.value.faults} == {
        "max_steps",
        "max_cost",
    }

    assert vader.pause_job(job.id).status == "paused"
    assert vader.wait(job.id).status == "paused"
    assert vader.resume_job(job.id).status == "queued"
    assert vader.cancel_job(job.id).terminal
    assert vader.wait(job.id).status == "cancelled"
    with pytest.raises(WrongStatus) as refused:
        vader.resume_job(job.id)
    assert "resume" not in refused.value.allowed_actions
    assert [event.type for event in vader.events(job.id)][-1] == "job.cancelled"
    assert vader.delete_job(job.id).deleted_at is not None


def test_what_a_job_yields_is_found_named_and_fetched(
    vader: VaderClient, settings: Settings, tmp_path: Path
) -> None:
    job = vader.create_job(document())
    with pytest.raises(NoAdapter):
        vader.download_adapter(job.id, to=tmp_path)
    outputs.succeed(open_store(settings))
    ended = vader.wait(job.id)
    assert ended.adapter is not None
    assert [curve.key for curve in vader.metrics(job.id, keys=["reward"]).series] == ["reward"]
    assert vader.evaluation(job.id).final is not None
    assert [one.outcome for one in vader.attempts(job.id)] == ["succeeded"]
    newest, *_ = vader.checkpoints(job.id)
    assert vader.checkpoint(job.id, newest.id).step == newest.step == 20
    assert {sample.role for sample in vader.samples(job.id)} == {"base", "adapter"}

    assert vader.set_alias("production", ended.adapter.id).adapter_id == ended.adapter.id
    seen = vader.alias("production")
    promoted = vader.promote(job.id, newest.id)
    assert vader.set_alias("production", promoted.id, seen=seen).adapter_id == promoted.id
    with pytest.raises(Stale):
        vader.set_alias("production", ended.adapter.id, seen=seen)
    assert {one.id for one in vader.adapters()} == {ended.adapter.id, promoted.id}
    assert vader.adapter_id_of("@production") == promoted.id
    files = vader.adapter_files(ended.adapter.id)
    assert {file.path for file in vader.adapter(ended.adapter.id).files} == {
        file.path for file in files
    }
    vader.delete_alias("production")
    with pytest.raises(NotFound):
        vader.alias("production")

    more = vader.extend_job(job.id, start="last", add_budget={"max_steps": 5}, name="longer")
    assert (more.parent_job_id, more.parent_kind, more.budget.steps.limit) == (job.id, "extend", 25)
    compared = vader.compare_jobs([job.id, more.id])
    assert compared.jobs == [job.id, more.id]


def test_prompts_and_templates_are_stored_in_versions(vader: VaderClient, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a red circle moving left\na blue square moving up\na red circle moving left\n")
    assert vader.validate_prompts(file, name="shapes").report.exact_duplicates == 1
    stored = vader.push_prompts(file, name="shapes")
    assert (stored.version, stored.size) == (1, 3)
    lines = [{"prompt": f"a red circle, number {n}"} for n in range(4)]
    assert vader.create_prompt_set("shapes", lines).version == 2
    assert [one.version for one in vader.prompt_sets(name="shapes")] == [2, 1]
    assert [one.prompt for one in vader.prompts(stored.id)][1] == "a blue square moving up"

    template = vader.create_template("usual", document(), description="as always")
    newer = vader.update_template(vader.template(template.id), spec={"seed": 5})
    assert (newer.version, newer.spec["seed"]) == (2, 5)
    assert "seed" not in vader.template(template.id, version=1).spec
    asked = {"template": newer.reference, "overrides": {"budget": {"max_steps": 7}}}
    assert vader.create_job(asked).budget.steps.limit == 7
    assert vader.archive_template(template.id).archived_at is not None


def test_a_project_looks_after_itself(vader: VaderClient) -> None:
    key = vader.create_api_key("ci", scopes=["jobs:read"])
    assert key.api_key is not None
    with VaderClient(vader.url, key.api_key) as reader:
        assert reader.me().scopes == ["jobs:read"]
        with pytest.raises(Unauthorized, match="jobs:write"):
            reader.create_job(document())
    vader.revoke_api_key(key.id)
    assert vader.api_key(key.id).revoked_at is not None
    assert key.id not in {one.id for one in vader.api_keys()}

    member = vader.invite_member("ada@example.com", name="Ada", role="editor")
    assert member.invitation_token
    assert vader.update_member(member.id, role="viewer").role == "viewer"
    assert [one.email for one in vader.members()] == ["ada@example.com"]
    vader.remove_member(member.id)

    assert {one.name for one in vader.quotas()} >= {"running_jobs", "gpu_seconds_a_month"}
    assert vader.usage(group_by=["base_model", "team"], interval="day").total.gpu_seconds == 0
    actions = [entry.action for entry in vader.audit_log(target=member.id)]
    assert actions[0] == "member.remove"
    assert set(vader.me().scopes) == set(api_keys.ALL_SCOPES)
    assert "queued" in vader.job_transitions().transitions


def test_jobs_are_cancelled_by_the_batch_if_there_are_as_many_as_said(vader: VaderClient) -> None:
    jobs = [vader.create_job(document(labels={"team": "ads"})) for _ in range(3)]
    with pytest.raises(Conflict):
        vader.cancel_jobs(expected_count=2, matching={"labels": {"team": "ads"}})
    done = vader.cancel_jobs(expected_count=3, matching={"labels": {"team": "ads"}})
    assert {one.id for one in done.jobs} == {job.id for job in jobs}


def test_the_feed_tells_of_all_jobs_and_goes_on_where_it_was(vader: VaderClient) -> None:
    first, second = vader.create_job(document()), vader.create_job(document())
    page = vader.feed_page(limit=1)
    assert [event.job_id for event in page.data] == [first.id]
    with closing(vader.feed(after=page.resume_after, types=["job.queued", "job.created"])) as feed:
        seen = list(itertools.islice(feed, 2))
    assert {event.job_id for event in seen} <= {first.id, second.id}
    with closing(vader.feed(after=seen[-1].cursor, types=["job.cancelled"])) as feed:
        vader.cancel_job(second.id)
        assert next(feed).job_id == second.id
    assert vader.create_stream_token(job_id=first.id).token


def test_the_asynchronous_client_follows_a_job(serve: Serve, team: Team) -> None:
    async def followed(url: str) -> list[str]:
        async with AsyncVaderClient(url, team.token) as vader:
            job = await vader.create_job(document())
            seen = []
            async for event in vader.events(job.id):
                if not seen:
                    await vader.cancel_job(job.id)
                seen.append(event.type)
            assert (await vader.wait(job.id)).status == "cancelled"
            assert [one.id async for one in vader.jobs()] == [job.id]
            return seen

    with serve() as url:
        seen = asyncio.run(followed(url))
    assert (seen[0], seen[-1]) == ("job.created", "job.cancelled")


def test_the_log_of_a_job_is_followed_to_its_end(vader: VaderClient) -> None:
    job = vader.create_job(document())
    claim = outputs.start()
    vader.cancel_job(job.id)
    lives.ended(claim, lives.Status.CANCELLED)
    assert "".join(part.text for part in vader.follow_logs(job.id)) == ""
