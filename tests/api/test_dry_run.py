from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from api.app import create_app
from domain import db, quotas
from domain.events import Event
from domain.service_tables import IdempotencyKey
from domain.settings import Settings
from domain.tables import Job
from tests import lives
from tests.api.teams import Team, make_team, new_key, post_job
from tests.factories import PROMPTS, document
from tests.past_runs import alive, ran
from vader_core.catalogue import BUILT_IN

Spec = dict[str, Any]


def dry_run(client: TestClient, **changes: Any) -> Any:
    return client.post("/v1/jobs/dry-run", json=document(**changes))


def told(client: TestClient, **changes: Any) -> Spec:
    answer = dry_run(client, **changes)
    assert answer.status_code == 200, answer.text
    body: Spec = answer.json()
    return body


def expecting(client: TestClient, **expect: Any) -> Any:
    """The answer to creating the usual job with these expectations."""
    return client.post("/v1/jobs", json=document(expect=expect), headers=new_key())


def rows(table: type[Any]) -> int:
    with db.read() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def faults(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {fault["pointer"]: fault["code"] for fault in answer.json()["errors"]}


def test_a_dry_run_says_what_the_job_will_be_and_leaves_nothing_behind(
    client: TestClient,
) -> None:
    said = told(client)
    assert (rows(Job), rows(Event), rows(IdempotencyKey)) == (0, 0, 0)
    job = post_job(client)
    assert said["spec_hash"] == job["spec_hash"]
    assert said["resolved_spec"] == job["resolved_spec"]
    assert said["template"] is None


def test_without_history_only_counts_are_known(client: TestClient) -> None:
    estimate = told(client)["estimate"]
    assert (estimate["basis"], estimate["similar_runs"], estimate["steps"]) == ("unknown", 0, 20)
    # 8 videos a step and 1 reward; 2 prompts under 2 seeds, a reward and two guards, before and after.
    guards = len(told(client)["resolved_spec"]["guards"])
    evaluation = 2 * 4 * (1 + guards)
    expected = {"basis": "analytic", "train": 160, "evaluation": evaluation}
    assert estimate["reward_queries"] == expected
    for name in ("gpu_seconds", "wall_clock_s", "queue_wait_s"):
        assert estimate[name] == {"basis": "unknown", "p50": None, "p90": None}
    assert estimate["vram_gib"]["peak"] is None
    assert estimate["first_ceiling"] == {
        "basis": "analytic",
        "p50": "max_steps",
        "p90": "max_steps",
    }
    assert estimate["hardware"] == []


def test_every_number_of_the_estimate_says_how_it_is_known(client: TestClient) -> None:
    alive()
    for step_s in (1.0, 2.0, 4.0):
        ran(step_s=step_s)
    estimate = told(client)["estimate"]
    assert (estimate["basis"], estimate["similar_runs"]) == ("measured", 3)
    assert estimate["gpu_seconds"] == {"basis": "measured", "p50": 45.0, "p90": 77.0}
    assert estimate["queue_wait_s"] == {"basis": "analytic", "p50": 0.0, "p90": 0.0}
    assert estimate["storage_gib"]["basis"] == "measured"
    [kind] = estimate["hardware"]
    assert (kind["class"], kind["memory_gib"], kind["workers"]) == ("cpu x2", None, 1)
    assert (kind["fits"], kind["selected"], kind["needs"]) == (None, True, None)
    groups = [value for value in estimate.values() if isinstance(value, dict)]
    assert {group["basis"] for group in groups} <= {"measured", "analytic", "unknown"}
    assert len(groups) == 8


def test_warnings_point_into_the_resolved_spec(client: TestClient) -> None:
    warnings = told(client, evaluation={"every_steps": 50})["warnings"]
    places = {warning["code"]: warning["pointer"] for warning in warnings}
    assert places == {
        "few_eval_prompts": "/evaluation/num_prompts",
        "no_ceiling_of_time": "/budget",
        "no_periodic_evaluation": "/evaluation/every_steps",
        "no_workers": "",
    }


def test_faults_are_those_of_the_job_itself(client: TestClient) -> None:
    wrong: Spec = {
        "base_model": "tiny-unett",
        "seed": -1,
        "webhookUrl": "https://example.org",
        "notify": {"events": ["job.won"]},
        "expect": {"spec_hash": "9f2c"},
    }
    tried = dry_run(client, **wrong)
    created = client.post("/v1/jobs", json=document(**wrong), headers=new_key())
    assert tried.json()["errors"] == created.json()["errors"]
    assert faults(tried) == {
        "/base_model": "unknown_base_model",
        "/seed": "greater_than_equal",
        "/webhookUrl": "unknown_field",
        "/expect/spec_hash": "string_pattern_mismatch",
        "/notify/events/0": "not_in_set",
    }
    detail = next(e["detail"] for e in tried.json()["errors"] if e["pointer"] == "/webhookUrl")
    assert detail == "Unknown field. Did you mean 'notify.webhook_endpoints'?"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_steps", "budget.max_steps"), ("learningRate", "method.learning_rate")],
)
def test_a_field_in_the_wrong_place_is_told_where_it_belongs(
    client: TestClient, name: str, meant: str
) -> None:
    [fault] = dry_run(client, **{name: 3}).json()["errors"]
    assert fault["detail"] == f"Unknown field. Did you mean '{meant}'?"


@pytest.mark.parametrize("body", [[], "job", 3, None])
def test_what_is_no_object_is_refused(client: TestClient, body: Any) -> None:
    answer = client.post("/v1/jobs/dry-run", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_job_of_a_template_can_be_tried_too(client: TestClient) -> None:
    spec = document()
    prompts = {"prompts": spec.pop("prompts")}
    body = {"name": "shapes", "spec": spec}
    made = client.post("/v1/job-templates", json=body, headers=new_key()).json()
    asked = {"template": made["id"], "overrides": prompts}
    said = client.post("/v1/jobs/dry-run", json=asked).json()
    assert said["template"] == made["reference"]
    assert said["spec_hash"] == told(client)["spec_hash"]


def test_a_job_is_bound_to_its_dry_run(client: TestClient) -> None:
    said = told(client)
    other = told(client, seed=5)
    refused = expecting(client, spec_hash=other["spec_hash"])
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "spec_hash_mismatch")
    assert problem["expected_spec_hash"] == other["spec_hash"]
    assert problem["actual_spec_hash"] == said["spec_hash"]
    assert rows(Job) == 0
    assert expecting(client, spec_hash=said["spec_hash"]).status_code == 202


def test_a_dry_run_meets_the_same_expectations(client: TestClient) -> None:
    other = told(client, seed=5)["spec_hash"]
    answer = dry_run(client, expect={"spec_hash": other})
    assert (answer.status_code, answer.json()["code"]) == (409, "spec_hash_mismatch")


def test_a_job_that_costs_more_than_expected_is_not_made(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lives.changed_settings(monkeypatch, gpu_second_price="1"):
        unknown = expecting(client, max_estimated_cost={"amount": "1000000"})
        assert (unknown.status_code, unknown.json()["code"]) == (422, "estimate_exceeds_limit")
        assert unknown.json()["estimated_cost"] is None
        for _ in range(3):
            ran()
        before = rows(Job)
        dear = expecting(client, max_estimated_cost={"amount": "44.99"})
        assert (dear.status_code, dear.json()["code"]) == (422, "estimate_exceeds_limit")
        assert dear.json()["estimated_cost"] == {"amount": "45.00", "currency": "USD"}
        assert rows(Job) == before
        enough = expecting(client, max_estimated_cost={"amount": "45.00"})
        assert enough.status_code == 202, enough.text


def test_a_job_that_no_gpu_can_hold_is_not_made(
    settings: Settings, team: Team, tmp_path: Path
) -> None:
    model = "wan2.1-t2v-14b"
    placed = BUILT_IN.base_models[model].weights.place(model, tmp_path)
    placed.mkdir(parents=True)
    (placed / "model_index.json").write_text("{}")
    app = create_app(settings.model_copy(update={"weights_dir": tmp_path}))
    asked: Spec = {"base_model": model, "guards": [], "video": {}}
    with TestClient(app) as client:
        client.headers.update(team.headers)
        alive("1 x NVIDIA L4 (24 GiB)")
        for answer in (
            dry_run(client, **asked),
            client.post("/v1/jobs", json=document(**asked), headers=new_key()),
        ):
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (422, "does_not_fit_gpu")
            assert problem["needs_gib"] > 24
            assert problem["hardware"] == [{"class": "NVIDIA L4 x1", "memory_gib": 24.0}]
        assert rows(Job) == 0
        alive("1 x NVIDIA H200 (141 GiB)", name="worker-2")
        said = told(client, **asked)
        fitting = {
            kind["class"]: (kind["fits"], kind["selected"]) for kind in said["estimate"]["hardware"]
        }
        assert fitting == {"NVIDIA L4 x1": (False, False), "NVIDIA H200 x1": (True, True)}
        memory = said["estimate"]["vram_gib"]
        assert memory["basis"] == "analytic"
        assert "may_not_fit" not in {warning["code"] for warning in said["warnings"]}
        assert said["quota"]["would_start"] == "now"
        made = client.post("/v1/jobs", json=document(**asked), headers=new_key())
        assert made.is_success
        with db.read() as session:
            job = session.scalars(select(Job)).one()
        assert job.least_gib == pytest.approx(memory["at_least"], abs=0.01)
        assert job.peak_gib == pytest.approx(memory["peak"], abs=0.01)


def test_what_is_left_of_the_quota_is_told(client: TestClient, team: Team) -> None:
    free = told(client)["quota"]
    assert (free["running_jobs"], free["max_running_jobs"]) == (0, None)
    assert free["would_start"] == "not_known"
    alive()
    assert told(client)["quota"]["would_start"] == "now"
    with db.transaction() as session:
        quotas.set_limits(
            session, team.project_id, running_jobs=2, queued_jobs=1, gpu_seconds_a_month=1000
        )
    limited = told(client)["quota"]
    assert limited["gpu_seconds_left_this_month"] == 1000
    assert (limited["max_running_jobs"], limited["max_queued_jobs"]) == (2, 1)
    post_job(client)
    full = told(client)["quota"]
    assert (full["queued_jobs"], full["would_start"]) == (1, "not_accepted")


def test_whoever_may_not_create_may_not_try(anonymous: TestClient, team: Team) -> None:
    reader = make_team("readers", scopes=["jobs:read"])
    answer = anonymous.post("/v1/jobs/dry-run", json=document(), headers=reader.headers)
    assert (answer.status_code, answer.json()["scope"]) == (403, "jobs:write")
    assert anonymous.post("/v1/jobs/dry-run", json=document()).status_code == 401


def test_a_jobs_notifications_are_kept_as_they_were_asked_for(client: TestClient) -> None:
    job = post_job(client, notify={"events": ["job.succeeded"]})
    with db.read() as session:
        [kept] = session.scalars(select(Job.notify)).all()
    assert kept == {"events": ["job.succeeded"]}
    assert job["spec"]["notify"] == kept


def test_an_adapter_that_is_not_there_is_a_fault(client: TestClient) -> None:
    answer = dry_run(client, init_from={"adapter": "ad_00000000000000000000000000"})
    assert faults(answer) == {"/init_from/adapter": "unknown_start"}


def test_prompts_of_a_stored_set_are_counted(client: TestClient) -> None:
    body = {"name": "shapes", "prompts": PROMPTS}
    stored = client.post("/v1/prompt-sets", json=body, headers=new_key()).json()["id"]
    said = told(client, prompts={"prompt_set": stored})
    inline = told(client)
    queries = [it["estimate"]["reward_queries"] for it in (said, inline)]
    assert queries[0] == queries[1]
