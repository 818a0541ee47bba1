from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain import db, quotas
from tests.api.teams import Team, make_team, new_key
from tests.factories import PROMPTS, document

SPEC: dict[str, Any] = {
    "base_model": "tiny-unet",
    "rewards": [{"reward": "tiny-action"}],
    "budget": {"max_steps": 20},
}
REST = {"prompts": {"inline": PROMPTS}}


def make(client: TestClient, name: str = "shapes", **changes: Any) -> dict[str, Any]:
    body = {"name": name, "spec": SPEC, **changes}
    answer = client.post("/v1/job-templates", json=body, headers=new_key())
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/job-templates/{made['id']}"
    return made


def post_job(client: TestClient, template: str, overrides: Any, **more: Any) -> Any:
    body = {"template": template, "overrides": overrides, **more}
    return client.post("/v1/jobs", json=body, headers=new_key())


def change(client: TestClient, template: str, patch: Any, if_match: str = "*") -> Any:
    path = f"/v1/job-templates/{template}"
    return client.patch(path, json=patch, headers={"If-Match": if_match})


def faults(answer: Any) -> dict[str, str]:
    """The codes by pointer."""
    assert answer.status_code == 422, answer.text
    return {fault["pointer"]: fault["code"] for fault in answer.json()["errors"]}


def test_a_template_comes_back_as_it_was_made(client: TestClient) -> None:
    made = make(client, description="Our usual start.")
    assert (made["version"], made["newest_version"], made["archived_at"]) == (1, 1, None)
    assert made["spec"] == SPEC
    assert made["reference"] == f"{made['id']}@1"
    assert client.get(f"/v1/job-templates/{made['id']}").json() == made
    listed = client.get("/v1/job-templates").json()
    assert [item["reference"] for item in listed["data"]] == [made["reference"]]
    assert "spec" not in listed["data"][0]


def test_the_list_is_paged(client: TestClient) -> None:
    names = [make(client, f"template {i}")["name"] for i in range(3)]
    page = client.get("/v1/job-templates", params={"limit": 2}).json()
    rest = client.get("/v1/job-templates", params={"cursor": page["next_cursor"]}).json()
    assert [item["name"] for item in [*page["data"], *rest["data"]]] == names[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)


def test_no_more_templates_and_versions_are_kept_than_the_quotas_say(
    client: TestClient, team: Team
) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, templates=1, template_versions=1)
    made = make(client)
    body = {"name": "another", "spec": SPEC}
    refused = client.post("/v1/job-templates", json=body, headers=new_key())
    assert (refused.status_code, refused.json()["quota"]) == (403, "templates")
    changed = change(client, made["id"], {"description": "2"})
    assert (changed.status_code, changed.json()["quota"]) == (403, "template_versions")
    assert client.get(f"/v1/job-templates/{made['id']}").json() == made


def test_a_name_belongs_to_one_template(client: TestClient) -> None:
    made = make(client)
    body = {"name": "shapes", "spec": SPEC}
    again = client.post("/v1/job-templates", json=body, headers=new_key())
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    other = make(client, "others")
    taken = change(client, other["id"], {"name": "shapes"})
    assert taken.status_code == 409
    client.delete(f"/v1/job-templates/{made['id']}")
    assert make(client)["id"] != made["id"], "an archived template's name is free"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"bass_model": "tiny-unet"}, {"/spec/bass_model": "unknown_field"}),
        ({"seed": "one"}, {"/spec/seed": "int_parsing"}),
        ({"budget": {"max_stepz": 3}}, {"/spec/budget/max_stepz": "unknown_field"}),
        ({"rewards": []}, {"/spec/rewards": "too_short"}),
        ({"method": {"type": "sorcery"}}, {"/spec/method/type": "unknown_method"}),
    ],
)
def test_what_no_override_can_put_right_is_refused_at_once(
    client: TestClient, spec: dict[str, Any], expected: dict[str, str]
) -> None:
    body = {"name": "wrong", "spec": spec}
    assert faults(client.post("/v1/job-templates", json=body, headers=new_key())) == expected


@pytest.mark.parametrize(
    "spec", [{}, {"budget": {}}, {"prompts": {"heldout_fraction": 0.5}}, {"rewards": [{}]}]
)
def test_a_template_may_leave_out_whatever_overrides_will_bring(
    client: TestClient, spec: dict[str, Any]
) -> None:
    assert make(client, spec=spec)["spec"] == spec


def test_a_patch_merges_into_a_new_version_and_leaves_the_old_one(client: TestClient) -> None:
    made = make(client, description="first")
    patch = {"description": None, "spec": {"budget": {"max_steps": 40}, "seed": 7, "rewards": None}}
    answer = change(client, made["id"], patch)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    expected = {"base_model": "tiny-unet", "budget": {"max_steps": 40}, "seed": 7}
    assert (changed["version"], changed["spec"], changed["description"]) == (2, expected, "")
    old = client.get(f"/v1/job-templates/{made['id']}", params={"version": 1}).json()
    assert (old["spec"], old["description"], old["newest_version"]) == (SPEC, "first", 2)
    missing = client.get(f"/v1/job-templates/{made['id']}", params={"version": 3})
    assert missing.status_code == 404


def test_a_patch_that_changes_nothing_makes_no_version(client: TestClient) -> None:
    made = make(client)
    patch = {"spec": {"budget": {"max_steps": 20}}}
    assert change(client, made["id"], patch).json()["version"] == 1


def test_faults_of_a_patch_point_into_the_patch(client: TestClient) -> None:
    made = make(client)
    patch = {"name": None, "spec": {"budget": {"max_steps": 0}, "seeds": 3}, "more": 1}
    answer = change(client, made["id"], patch)
    assert faults(answer) == {
        "/name": "missing",
        "/more": "unknown_field",
        "/spec/budget/max_steps": "greater_than_equal",
        "/spec/seeds": "unknown_field",
    }
    assert client.get(f"/v1/job-templates/{made['id']}").json()["version"] == 1


def test_a_patch_of_what_somebody_else_has_changed_is_refused(client: TestClient) -> None:
    made = make(client)
    path = f"/v1/job-templates/{made['id']}"
    known = client.get(path).headers["ETag"]
    first = change(client, made["id"], {"spec": {"seed": 1}}, known)
    assert first.status_code == 200
    second = change(client, made["id"], {"spec": {"seed": 2}}, known)
    assert (second.status_code, second.json()["code"]) == (412, "etag_mismatch")
    assert client.delete(path, headers={"If-Match": known}).status_code == 412
    third = change(client, made["id"], {"spec": {"seed": 2}}, first.headers["ETag"])
    assert third.json()["version"] == 3
    blind = client.patch(path, json={"spec": {"seed": 2}})
    assert (blind.status_code, blind.json()["code"]) == (428, "precondition_required")


def test_labels_of_a_template_are_bound_as_those_of_jobs(client: TestClient) -> None:
    labels = {"n" * 65: "x", **{f"label-{number}": "x" for number in range(50)}}
    answer = client.post(
        "/v1/job-templates",
        json={"name": "many", "spec": {"labels": labels}},
        headers=new_key(),
    )
    assert answer.status_code == 422
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert f"/spec/labels/{'n' * 65}" in pointers


def test_a_job_is_made_of_a_template_and_its_overrides(client: TestClient) -> None:
    made = make(client)
    change(client, made["id"], {"spec": {"budget": {"max_steps": 30}}})
    newest = post_job(client, made["id"], {**REST, "seed": 5})
    assert newest.status_code == 202, newest.text
    resolved = newest.json()["resolved_spec"]
    assert (resolved["budget"]["max_steps"], resolved["seed"]) == (30, 5)
    assert newest.json()["spec"]["overrides"]["seed"] == 5
    first = post_job(client, f"{made['id']}@1", REST).json()
    assert first["resolved_spec"]["budget"]["max_steps"] == 20
    whole = client.post("/v1/jobs", json={**SPEC, **REST}, headers=new_key()).json()
    assert whole["spec_hash"] == first["spec_hash"]


def test_jobs_go_on_where_their_template_is_archived_and_no_new_one_is_made(
    client: TestClient,
) -> None:
    made = make(client)
    job = post_job(client, made["id"], REST).json()
    archived = client.delete(f"/v1/job-templates/{made['id']}")
    assert archived.status_code == 200
    assert archived.json()["archived_at"] is not None
    again = client.delete(f"/v1/job-templates/{made['id']}")
    assert again.json() == archived.json()
    refused = post_job(client, made["reference"], REST)
    assert faults(refused) == {"/template": "template_archived"}
    assert client.get("/v1/job-templates").json()["data"] == []
    assert client.get(f"/v1/job-templates/{made['id']}").status_code == 200
    assert change(client, made["id"], {"name": "x"}).status_code == 409
    assert client.get(f"/v1/jobs/{job['id']}").json()["spec_hash"] == job["spec_hash"]


def test_faults_point_to_whoever_gave_the_value(client: TestClient) -> None:
    spec = {"base_model": "tiny-unett", "rewards": [{"reward": "tiny-action"}], "seed": 1}
    made = make(client, spec=spec)
    overrides = {**REST, "video": {"num_frames": 999}, "webhookUrl": "https://example.org"}
    answer = post_job(client, made["id"], overrides)
    told = {fault["pointer"]: fault for fault in answer.json()["errors"]}
    assert told["/overrides/webhookUrl"]["code"] == "unknown_field"
    assert "'notify.webhook_endpoints'" in told["/overrides/webhookUrl"]["detail"]
    inner = [
        fault["detail"] for fault in answer.json()["errors"] if fault["pointer"] == "/template"
    ]
    assert any(text.startswith("At /base_model of the template's spec:") for text in inner)
    assert any(text.startswith("At /budget of the template's spec:") for text in inner)


def test_faults_of_values_that_an_override_gave_point_into_the_overrides(
    client: TestClient,
) -> None:
    made = make(client)
    overrides = {**REST, "video": {"num_frames": 999}, "budget": {"max_reward_queries": 1}}
    expected = {
        "/overrides/video/num_frames": "not_in_set",
        "/overrides/budget/max_reward_queries": "budget_below_one_step",
    }
    assert faults(post_job(client, made["id"], overrides)) == expected


def test_all_faults_around_a_template_are_told_at_once(client: TestClient) -> None:
    answer = post_job(
        client,
        "tpl_00000000000000000000000000",
        {},
        seed=3,
        webhookUrl="https://example.org",
        notify={"events": ["job.won"], "webhook_endpoints": ["we_nobody"]},
        expect={"max_estimated_cost": {"amount": "1", "currency": "EUR"}},
    )
    assert faults(answer) == {
        "/template": "unknown_template",
        "/seed": "not_beside_template",
        "/webhookUrl": "unknown_field",
        "/notify/events/0": "not_in_set",
        "/notify/webhook_endpoints/0": "unknown_webhook_endpoint",
        "/expect/max_estimated_cost/currency": "not_in_set",
    }


@pytest.mark.parametrize(
    ("template", "overrides", "expected"),
    [
        (3, {}, {"/template": "string_type"}),
        ("tpl_x@one", {}, {"/template": "unknown_template"}),
        ("tpl_x", [1], {"/overrides": "dict_type"}),
    ],
)
def test_references_and_overrides_of_the_wrong_form_are_refused(
    client: TestClient, template: Any, overrides: Any, expected: dict[str, str]
) -> None:
    assert faults(post_job(client, template, overrides)) == expected


def test_overrides_without_a_template_are_refused(client: TestClient) -> None:
    body = document(overrides={"seed": 3})
    answer = client.post("/v1/jobs", json=body, headers=new_key())
    assert faults(answer) == {"/overrides": "overrides_without_template"}


def test_another_projects_template_does_not_exist(client: TestClient, other_team: Team) -> None:
    made = make(client)
    path = f"/v1/job-templates/{made['id']}"
    for answer in (
        client.get(path, headers=other_team.headers),
        client.patch(path, json={}, headers={**other_team.headers, "If-Match": "*"}),
        client.delete(path, headers=other_team.headers),
    ):
        assert answer.status_code == 404
    body = {"template": made["id"], "overrides": REST}
    used = client.post("/v1/jobs", json=body, headers={**new_key(), **other_team.headers})
    assert faults(used) == {"/template": "unknown_template"}


def test_templates_are_written_with_their_own_scope(client: TestClient) -> None:
    reader = make_team("readers", scopes=["jobs:read", "jobs:write"])
    body = {"name": "mine", "spec": SPEC}
    answer = client.post("/v1/job-templates", json=body, headers={**new_key(), **reader.headers})
    assert (answer.status_code, answer.json()["scope"]) == (403, "templates:write")
    assert client.get("/v1/job-templates", headers=reader.headers).status_code == 200
