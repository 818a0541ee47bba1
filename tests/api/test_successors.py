"""Retry, extend, and jobs that start from what others left."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain.job_status import Status
from domain.store import ObjectStore
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.successions import FOR_GOOD, PASSING, act, checkpoints, failed, made, pointers
from tests.api.teams import Team, new_key, post_job


@pytest.fixture
def job(client: TestClient, store: ObjectStore) -> dict[str, Any]:
    """A job of 20 steps that ended well, with checkpoints of steps 10 and 20."""
    path = post_job(client, name="first", labels={"team": "ads"})["links"]["self"]
    outputs.succeed(store)
    body: dict[str, Any] = client.get(path).json()
    return body


def test_a_retry_goes_on_from_the_newest_checkpoint(client: TestClient) -> None:
    old = failed(client, FOR_GOOD, checkpoints=(5, 10))
    new = made(client, old, "retry")
    newest = checkpoints(client, old)[10]
    assert new["starts_from"]["id"] == newest
    assert new["resolved_spec"]["init_from"] == {
        "adapter": None,
        "checkpoint": newest,
        "state": "full",
    }
    assert {**new["resolved_spec"], "init_from": None} == old["resolved_spec"]
    # What was used up to the checkpoint, not what the failed attempt used beyond.
    assert new["progress"]["step"] == 10
    assert new["budget"]["reward_queries"]["used"] == 80
    assert new["budget"]["gpu_seconds"]["used"] == 20.0
    claim = lives.claimed()
    assert claim.init_from is not None
    assert claim.init_from["id"] == newest
    assert claim.spent_gpu_seconds == 20.0
    assert {file["path"] for file in claim.init_from["files"]} >= {"state.json", "manifest.json"}


def test_a_retry_without_a_checkpoint_begins_anew_where_that_can_help(client: TestClient) -> None:
    new = made(client, failed(client, PASSING), "retry")
    assert (new["starts_from"], new["progress"]["step"]) == (None, 0)
    refused = act(client, failed(client, FOR_GOOD), "retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


def test_only_a_failed_job_is_retried_and_only_an_ended_one_extended(
    client: TestClient, job: dict[str, Any]
) -> None:
    refused = act(client, job, "retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")
    assert "extend" in refused.json()["allowed_actions"]
    waiting = post_job(client)
    for action in ("retry", "extend"):
        assert act(client, waiting, action).json()["code"] == "invalid_transition"


def test_an_extension_with_the_full_state_counts_on(
    client: TestClient, job: dict[str, Any]
) -> None:
    new = made(
        client,
        job,
        "extend",
        {
            "from": "last",
            "state": "full",
            "add_budget": {"max_steps": 30, "max_gpu_seconds": 100, "on_exhausted": "pause"},
            "overrides": {"method": {"learning_rate": 0.00005}, "labels": {"team": None}},
            "name": "second",
        },
    )
    assert (new["name"], new["labels"]) == ("second", {})
    assert new["resolved_spec"]["method"]["learning_rate"] == 0.00005
    budget = new["budget"]
    assert (budget["steps"]["limit"], budget["steps"]["used"]) == (50, 20)
    assert (budget["gpu_seconds"]["limit"], budget["gpu_seconds"]["used"]) == (140.0, 40.0)
    assert (budget["reward_queries"]["limit"], budget["reward_queries"]["used"]) == (None, 160)
    assert budget["on_exhausted"] == "pause"
    assert new["progress"]["step"] == 20
    adapter = client.get(job["adapter"]["url"]).json()
    assert adapter["lineage"]["ancestors"] == []


def test_an_extension_with_the_weights_counts_from_nothing(
    client: TestClient, job: dict[str, Any]
) -> None:
    new = made(
        client,
        job,
        "extend",
        {"from": checkpoints(client, job)[10], "state": "weights", "overrides": {"seed": 9}},
    )
    assert (new["budget"]["steps"]["limit"], new["budget"]["steps"]["used"]) == (20, 0)
    assert new["resolved_spec"]["seed"] == 9
    assert new["name"] == "first"
    claim = lives.claimed()
    assert claim.init_from is not None
    assert claim.init_from["prefix"].endswith("checkpoints/step-000010/adapter")
    assert [file["path"] for file in claim.init_from["files"]] == ["adapter_model.safetensors"]


def test_the_best_checkpoint_is_that_of_the_best_evaluation(client: TestClient) -> None:
    asked = post_job(client, evaluation={"every_steps": 10})
    claim = outputs.start()
    lives.told(
        claim,
        trainer_lines.evaluation(kind="base", step=0, reward=0.5),
        *(trainer_lines.step(number) for number in range(1, 21)),
        trainer_lines.evaluation(kind="periodic", step=10, reward=0.9),
        trainer_lines.evaluation(kind="periodic", step=20, reward=0.6),
    )
    lives.checkpointed(claim, (10, 20))
    lives.ended(claim, Status.FAILED, error=FOR_GOOD)
    new = made(client, asked, "extend", {"add_budget": {"max_steps": 40}})
    assert (new["starts_from"]["step"], new["budget"]["steps"]["limit"]) == (10, 50)


def test_all_faults_of_an_extension_are_told_at_once_where_they_were_made(
    client: TestClient, job: dict[str, Any]
) -> None:
    found = pointers(
        act(
            client,
            job,
            "extend",
            {
                "state": "full",
                "add_budget": {"deadline_at": "2020-01-01T00:00:00Z"},
                "overrides": {
                    "budget": {"max_steps": 3},
                    "seed": 3,
                    "video": {"num_frames": 10_000},
                },
            },
        )
    )
    assert found["/overrides/budget"] == "not_overridden"
    assert found["/add_budget/deadline_at"] == "in_the_past"
    assert found["/overrides/video/num_frames"]
    found = pointers(act(client, job, "extend", {"overrides": {"seed": 3, "adapter": {"rank": 2}}}))
    assert found == {
        "/overrides/seed": "fixed_by_full_state",
        "/overrides/adapter": "fixed_by_full_state",
        "/add_budget/max_steps": "used_up",
    }
    wrong = {"state": "weights", "overrides": {"adapter": {"rank": 2}}}
    assert pointers(act(client, job, "extend", wrong)) == {
        "/overrides/adapter/rank": "does_not_fit_start"
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"from": "first"}, "/from"),
        ({"from": "ck_nothing"}, "/from"),
        ({"state": "half"}, "/state"),
        ({"add_budget": {"max_steps": 0}}, "/add_budget/max_steps"),
        ({"nonsense": 1}, "/nonsense"),
        ([], ""),
    ],
)
def test_a_malformed_extension_is_refused(
    client: TestClient, job: dict[str, Any], body: Any, pointer: str
) -> None:
    assert pointer in pointers(act(client, job, "extend", body))


def test_a_job_that_left_only_an_adapter_is_extended_by_its_weights(
    client: TestClient, store: ObjectStore
) -> None:
    asked = post_job(client)
    claim = outputs.succeed(store)
    lives.expire_checkpoints(claim)
    assert pointers(act(client, asked, "extend", {"add_budget": {"max_steps": 5}})) == {
        "/state": "no_checkpoint"
    }
    new = made(client, asked, "extend", {"state": "weights"})
    assert new["starts_from"]["kind"] == "adapter"


def test_a_job_that_left_nothing_is_not_extended(client: TestClient) -> None:
    answer = act(client, failed(client, PASSING), "extend", {"state": "weights"})
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


def test_a_successor_is_made_once(client: TestClient, job: dict[str, Any]) -> None:
    headers = new_key()
    path = f"/v1/jobs/{job['id']}/extend"
    body = {"add_budget": {"max_steps": 5}}
    first, second = (client.post(path, json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert client.post(path, json=body).json()["code"] == "idempotency_key_missing"


def test_a_foreign_job_is_not_there(
    client: TestClient, job: dict[str, Any], other_team: Team
) -> None:
    client.headers.update(other_team.headers)
    for action in ("retry", "extend"):
        assert act(client, job, action).status_code == 404


def test_a_job_starts_from_an_adapter_by_its_alias(client: TestClient, job: dict[str, Any]) -> None:
    adapter = job["adapter"]["id"]
    client.put(f"/v1/adapters/{adapter}/aliases/production")
    for reference in (adapter, "@production", f"{adapter}@production"):
        new = post_job(client, init_from={"adapter": reference}, seed=4)
        assert new["resolved_spec"]["init_from"]["adapter"] == adapter
        assert (new["starts_from"]["kind"], new["progress"]["step"]) == ("adapter", 0)


def test_a_job_goes_on_from_anothers_checkpoint(client: TestClient, job: dict[str, Any]) -> None:
    start = {"checkpoint": checkpoints(client, job)[20], "state": "full"}
    asked = {"name": "first", "labels": {"team": "ads"}}
    new = post_job(client, init_from=start, budget={"max_steps": 25}, **asked)
    assert new["progress"]["step"] == 20
    lives.claimed()
    document = {**job["spec"], "init_from": start}
    answer = client.post("/v1/jobs", json=document, headers=new_key())
    assert pointers(answer) == {"/budget/max_steps": "used_up"}


@pytest.mark.parametrize(
    ("start", "pointer", "code"),
    [
        ({"adapter": "ad_nothing"}, "/init_from/adapter", "unknown_start"),
        ({"adapter": "@nobody"}, "/init_from/adapter", "unknown_start"),
        ({"checkpoint": "ck_nothing"}, "/init_from/checkpoint", "unknown_start"),
    ],
)
def test_a_start_that_is_not_there_is_told(
    client: TestClient, job: dict[str, Any], start: dict[str, str], pointer: str, code: str
) -> None:
    document = {**job["spec"], "init_from": start, "rewards": [{"reward": "none"}]}
    answer = client.post("/v1/jobs", json=document, headers=new_key())
    assert pointers(answer)["/rewards/0/reward"]
    document = {**job["spec"], "init_from": start}
    answer = client.post("/v1/jobs", json=document, headers=new_key())
    assert pointers(answer) == {pointer: code}


def test_a_start_of_another_shape_or_base_is_told(client: TestClient, job: dict[str, Any]) -> None:
    start = {"adapter": job["adapter"]["id"]}
    document = {**job["spec"], "init_from": start, "adapter": {"rank": 3, "alpha": 3.0}}
    answer = client.post("/v1/jobs", json=document, headers=new_key())
    assert pointers(answer) == {
        "/adapter/rank": "does_not_fit_start",
        "/adapter/alpha": "does_not_fit_start",
    }


def test_the_lineage_names_all_who_came_before(
    client: TestClient, job: dict[str, Any], store: ObjectStore
) -> None:
    second = made(client, job, "extend", {"state": "weights"})
    outputs.succeed(store)
    second = client.get(second["links"]["self"]).json()
    third = post_job(client, init_from={"adapter": second["adapter"]["id"]})
    outputs.succeed(store)
    third = client.get(third["links"]["self"]).json()
    found = client.get(third["adapter"]["url"]).json()["lineage"]["ancestors"]
    assert [(link["job_id"], link["relation"], link["state"]) for link in found] == [
        (second["id"], "init_from", "weights"),
        (job["id"], "extend", "weights"),
    ]
    assert found[0]["start_id"] == second["adapter"]["id"]


def test_a_retry_has_the_budget_as_it_was_last(client: TestClient) -> None:
    asked = post_job(client, budget={"max_steps": 20, "max_gpu_seconds": 50.0})
    claim = outputs.start()
    change = {"budget": {"max_steps": 30, "max_gpu_seconds": 90.0}}
    answer = client.patch(asked["links"]["self"], json=change, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    lives.checkpointed(claim, (10,))
    lives.ended(claim, Status.FAILED, error=PASSING)
    new = made(client, asked, "retry")
    assert (new["budget"]["steps"]["limit"], new["budget"]["gpu_seconds"]["limit"]) == (30, 90.0)
    # Over these the learning rate's schedule reaches.
    assert new["resolved_spec"]["budget"]["max_steps"] == 20


def test_an_extension_is_bound_by_what_its_maker_expects(
    client: TestClient, job: dict[str, Any]
) -> None:
    asked = {"add_budget": {"max_steps": 5}, "expect": {"spec_hash": "sha256:" + "0" * 64}}
    refused = act(client, job, "extend", asked)
    assert (refused.status_code, refused.json()["code"]) == (409, "spec_hash_mismatch")
    right = {"spec_hash": refused.json()["actual_spec_hash"]}
    assert (
        made(client, job, "extend", {**asked, "expect": right})["spec_hash"] == right["spec_hash"]
    )


def test_an_extension_says_who_is_told_or_keeps_to_those_of_the_first(
    client: TestClient, store: ObjectStore
) -> None:
    told = {"events": ["job.failed"]}
    path = post_job(client, notify=told)["links"]["self"]
    outputs.succeed(store)
    first = client.get(path).json()
    more = {"add_budget": {"max_steps": 5}}
    assert made(client, first, "extend", more)["notify"] == first["notify"]
    others = {"events": ["job.succeeded"]}
    assert made(client, first, "extend", {**more, "notify": others})["notify"] == others
    wrong = {**more, "notify": {"events": ["nothing"]}, "expect": {"max_estimated_cost": {}}}
    assert set(pointers(act(client, first, "extend", wrong))) >= {
        "/expect/max_estimated_cost/amount"
    }
    unknown = {**more, "notify": {"webhook_endpoints": ["we_1"]}}
    assert set(pointers(act(client, first, "extend", unknown))) == {"/notify/webhook_endpoints/0"}


def test_what_stands_beside_overrides_is_no_override(
    client: TestClient, job: dict[str, Any]
) -> None:
    overrides = {"expect": {}, "notify": {"events": ["job.failed"]}, "template": "t"}
    asked = {"add_budget": {"max_steps": 5}, "overrides": {**overrides, "overrides": {}}}
    answer = act(client, job, "extend", asked)
    assert pointers(answer) == {
        f"/overrides/{name}": "not_overridden" for name in (*overrides, "overrides")
    }
