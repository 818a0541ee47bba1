from __future__ import annotations

import json
from pathlib import Path

import pytest

from client import VaderClient
from client.errors import (
    BadArgument,
    Busy,
    Conflict,
    Invalid,
    NoAdapter,
    NotFound,
    SpecChanged,
    Stale,
    TooExpensive,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
    WrongStatus,
)
from client.stack.ports import free_port
from tests.client.scripted_server import Reply, json_reply, problem_reply, talking
from tests.client.shapes import JOB_ID, job_body, plan_body

SPEC = {"base_model": "tiny-unet"}


def test_a_created_job_comes_back_typed_and_keeps_fields_the_client_does_not_know() -> None:
    with talking(json_reply(job_body(brand_new=1), status=202)) as (vader, script):
        job = vader.create_job(SPEC)
    assert (job.id, job.status, job.terminal) == (JOB_ID, "queued", False)
    assert job.model_dump()["brand_new"] == 1
    assert script.asked[0].headers["Authorization"] == "Bearer key"
    assert json.loads(script.asked[0].body) == SPEC


def test_a_post_is_retried_with_the_same_idempotency_key_until_it_is_answered() -> None:
    replies = (
        Reply(503, headers={"Retry-After": "0"}),
        problem_reply(409, "idempotency_in_progress"),
        Reply(200, b"", cut=True),
        json_reply(job_body(), status=202),
    )
    with talking(*replies) as (vader, script):
        assert vader.create_job(SPEC).id == JOB_ID
    assert len(script.asked) == 4
    assert len({asked.headers["Idempotency-Key"] for asked in script.asked}) == 1


def test_two_jobs_have_two_idempotency_keys_unless_one_is_given() -> None:
    reply = json_reply(job_body(), status=202)
    with talking(reply, reply, reply) as (vader, script):
        vader.create_job(SPEC)
        vader.create_job(SPEC)
        vader.create_job(SPEC, idempotency_key="mine")
    keys = [asked.headers["Idempotency-Key"] for asked in script.asked]
    assert keys[0] != keys[1]
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", Unauthorized),
        (403, "missing_scope", Unauthorized),
        (404, "not_found", NotFound),
        (409, "invalid_transition", WrongStatus),
        (409, "upload_in_use", Conflict),
        (415, "unsupported_media_type", Invalid),
    ],
)
def test_a_problem_is_raised_as_its_own_class_at_once(
    status: int, code: str, kind: type[Exception]
) -> None:
    reply = problem_reply(status, code)
    with talking(reply) as (vader, script), pytest.raises(kind, match=code):
        vader.job(JOB_ID)
    assert len(script.asked) == 1


def test_a_refused_spec_tells_every_fault() -> None:
    faults = [
        {"pointer": "/webhookUrl", "code": "unknown_field", "detail": "Unknown field."},
        {"pointer": "/video/num_frames", "code": "not_in_set", "detail": "4k+1.", "nearest": [29]},
    ]
    reply = problem_reply(422, "validation_failed", errors=faults)
    with talking(reply) as (vader, _), pytest.raises(Invalid) as caught:
        vader.create_job(SPEC)
    assert [fault.pointer for fault in caught.value.faults] == ["/webhookUrl", "/video/num_frames"]
    assert caught.value.faults[1].nearest == [29]
    assert "/webhookUrl: Unknown field." in str(caught.value)


def test_a_service_that_stays_busy_is_given_up() -> None:
    replies = [problem_reply(429, "rate_limited")] * 9
    with talking(*replies) as (vader, script), pytest.raises(Busy):
        vader.me()
    assert len(script.asked) == 5


def test_a_wait_of_over_a_minute_is_left_to_the_caller() -> None:
    reply = Reply(429, headers={"Retry-After": "3600"})
    with talking(reply) as (vader, script), pytest.raises(Busy) as caught:
        vader.me()
    assert caught.value.retry_after_s == 3600
    assert len(script.asked) == 1


def test_a_date_in_retry_after_is_understood() -> None:
    past = Reply(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    with talking(past, json_reply(job_body())) as (vader, _):
        assert vader.job(JOB_ID).id == JOB_ID


def test_a_list_goes_through_all_of_its_pages() -> None:
    pages = (
        {"data": [job_body(name="one")], "next_cursor": "next", "has_more": True},
        {"data": [job_body(name="two")], "next_cursor": None, "has_more": False},
    )
    with talking(*(json_reply(page) for page in pages)) as (vader, script):
        assert [job.name for job in vader.jobs(status=["queued"])] == ["one", "two"]
    assert [asked.path for asked in script.asked] == [
        "/v1/jobs?status=queued&limit=100",
        "/v1/jobs?status=queued&limit=100&cursor=next",
    ]


def test_a_change_names_the_version_that_was_read() -> None:
    replies = (json_reply(job_body(), ETag='W/"r1-v4"'), problem_reply(412, "etag_mismatch"))
    with talking(*replies) as (vader, script), pytest.raises(Stale):
        vader.update_job(vader.job(JOB_ID), budget={"max_steps": 9}, labels={"team": None})
    changed = script.asked[1]
    assert (changed.method, changed.headers["If-Match"]) == ("PATCH", 'W/"r1-v4"')
    assert json.loads(changed.body) == {"budget": {"max_steps": 9}, "labels": {"team": None}}


def test_a_change_by_id_reads_the_version_first() -> None:
    replies = (json_reply(job_body(), ETag='W/"r1-v4"'), json_reply(job_body(name="new")))
    with talking(*replies) as (vader, script):
        assert vader.update_job(JOB_ID, name="new").name == "new"
    assert script.asked[1].headers["If-Match"] == 'W/"r1-v4"'


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(409, "spec_hash_mismatch", SpecChanged), (422, "estimate_exceeds_limit", TooExpensive)],
)
def test_a_job_is_bound_to_its_dry_run(status: int, code: str, kind: type[Exception]) -> None:
    with talking(json_reply(plan_body()), problem_reply(status, code)) as (vader, script):
        dry = vader.dry_run(SPEC)
        with pytest.raises(kind):
            vader.create_job(SPEC, expect=dry, max_cost={"amount": "9.50", "currency": "USD"})
    assert json.loads(script.asked[1].body)["expect"] == {
        "spec_hash": "sha256:" + "1" * 64,
        "max_estimated_cost": {"amount": "9.50", "currency": "USD"},
    }


def test_waiting_bears_a_service_that_is_away_for_a_while() -> None:
    replies = (
        json_reply(job_body(status="running")),
        *[Reply(503)] * 6,
        json_reply(job_body(status="succeeded", terminal=True)),
    )
    with talking(*replies) as (vader, script):
        assert vader.wait(JOB_ID).status == "succeeded"
    assert script.asked[0].headers["Prefer"] == "wait=3"


def test_waiting_ends_at_a_pause_unless_told_otherwise() -> None:
    paused = json_reply(job_body(status="paused"))
    ended = json_reply(job_body(status="cancelled", terminal=True))
    with talking(paused, paused, ended) as (vader, _):
        assert vader.wait(JOB_ID).status == "paused"
        assert vader.wait(JOB_ID, until=()).status == "cancelled"


def test_waiting_has_an_end() -> None:
    reply = json_reply(job_body(status="running"))
    with talking(reply) as (vader, _), pytest.raises(WaitedTooLong, match="is running after 0 s"):
        vader.wait(JOB_ID, timeout_s=0)


@pytest.mark.parametrize("name", ["", "..", "a/../b"])
def test_a_name_that_leads_elsewhere_is_not_asked_for(name: str) -> None:
    with talking() as (vader, script), pytest.raises(BadArgument):
        vader.job(name)
    assert script.asked == []


def test_a_service_that_is_not_there_is_unreachable() -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with VaderClient(away, "key") as vader, pytest.raises(Unreachable, match="does not answer"):
        vader.me()


@pytest.mark.parametrize("reply", [Reply(200, b"<html>"), json_reply({"id": 3})])
def test_an_answer_of_something_else_is_told_apart_from_a_refusal(reply: Reply) -> None:
    with talking(reply) as (vader, _), pytest.raises(UnexpectedAnswer):
        vader.job(JOB_ID)


def test_filters_of_a_list_become_parameters() -> None:
    with talking(json_reply({"data": [job_body()], "has_more": False})) as (vader, script):
        page = vader.jobs(status=["queued", "running"], method="nft", labels={"team": "ads"}).page(
            limit=5
        )
    assert page.data[0].id == JOB_ID
    query = script.asked[0].path.partition("?")[2].split("&")
    assert sorted(query) == [
        *("label.team=ads", "limit=5", "method=nft", "status=queued", "status=running")
    ]


def test_a_job_without_an_adapter_says_so(tmp_path: Path) -> None:
    reply = json_reply(job_body(status="running"))
    with talking(reply) as (vader, _), pytest.raises(NoAdapter, match="is running"):
        vader.download_adapter(JOB_ID, to=tmp_path)
