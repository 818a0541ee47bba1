"""Base models, rewards and methods, built in and the operator's own."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from domain.settings import Settings
from tests.api.teams import Team, new_key
from tests.factories import document
from vader_core import weights_lock
from vader_core.catalogue import BUILT_IN, TINY_WEIGHTS, Catalogue
from vader_core.method_spec import GRADIENT_FREE, SETTINGS


def test_base_models_tell_limits_and_defaults_and_no_folder(client: TestClient) -> None:
    page = client.get("/v1/base-models").json()
    assert {row["id"] for row in page["data"]} == set(BUILT_IN.base_models)
    wan = client.get("/v1/base-models/tiny-wan@1").json()
    assert wan == client.get("/v1/base-models/tiny-wan").json()
    assert wan["limits"]["num_frames"] == {
        "minimum": 1,
        "maximum": 25,
        "multiple": 2,
        "offset": 1,
        "values": [],
    }
    assert wan["limits"]["adapter_rank"]["maximum"] == 512
    assert wan["defaults"]["width"] == 32
    assert wan["weights"] == {
        "repo": None,
        "revision": "built-in",
        "licence": "Apache-2.0",
        "installed": True,
    }
    assert '"folder"' not in json.dumps(page)
    assert str(TINY_WEIGHTS) not in json.dumps(page)


def test_rewards_tell_targets_and_parameters(client: TestClient) -> None:
    page = client.get("/v1/rewards").json()
    assert {row["id"] for row in page["data"]} == set(BUILT_IN.rewards)
    action = client.get("/v1/rewards/tiny-action").json()
    assert action["needs_target"] is True
    assert "moving left" in action["targets"]
    assert action["direction"] == "higher_is_better"
    assert action["params_schema"]["type"] == "object"
    assert '"folder"' not in json.dumps(page)
    assert str(TINY_WEIGHTS) not in json.dumps(page)


def test_methods_tell_their_rewards_and_settings(client: TestClient) -> None:
    page = client.get("/v1/methods").json()
    assert [row["id"] for row in page["data"]] == [*SETTINGS]
    for row in page["data"]:
        assert client.get(f"/v1/methods/{row['id']}").json() == row
        assert row["title"]
        assert row["summary"]
        assert row["paper"].startswith("arXiv ")
        assert row["needs_differentiable_reward"] is (row["id"] not in GRADIENT_FREE)
        settings = row["settings_schema"]["properties"]
        assert settings["type"]["const"] == row["id"]
        assert all("default" in schema for name, schema in settings.items() if name != "type")
    assert settings["group_size"]["default"] == 4


@pytest.mark.parametrize("name", SETTINGS)
def test_a_method_s_schema_takes_what_jobs_are_resolved_to(client: TestClient, name: str) -> None:
    asked = document(method={"type": name})
    resolved = client.post("/v1/jobs", json=asked, headers=new_key()).json()["resolved_spec"]
    schema = client.get(f"/v1/methods/{name}").json()["settings_schema"]
    jsonschema.validate(resolved["method"], schema)
    assert set(resolved["method"]) == set(schema["properties"])


def test_a_black_box_reward_names_the_methods_that_fit(client: TestClient) -> None:
    asked = document(rewards=[{"reward": "jpeg-size"}])
    answer = client.post("/v1/jobs", json=asked, headers=new_key())
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/rewards/0/reward", "not_differentiable")
    assert ", ".join(GRADIENT_FREE) in fault["detail"]
    for name in GRADIENT_FREE:
        fits = client.post("/v1/jobs", json={**asked, "method": {"type": name}}, headers=new_key())
        assert fits.status_code == 202, fits.text


def test_an_unknown_method_is_told_the_nearest(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json=document(method={"type": "gpro"}), headers=new_key())
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["nearest"]) == ("/method/type", ["grpo", "dpo"])


def test_unknown_rows_are_not_found(client: TestClient) -> None:
    for path in (
        "methods/none",
        "base-models/none",
        "base-models/tiny-wan@9",
        "rewards/none",
        "rewards/@1",
    ):
        assert client.get(f"/v1/{path}").status_code == 404
    told = client.get("/v1/methods/gprpo").json()["detail"]
    assert all(name in told for name in SETTINGS)


def test_rows_say_where_their_weights_come_from_and_whether_they_are_here(
    client: TestClient,
) -> None:
    wan = client.get("/v1/base-models/wan2.1-t2v-1.3b").json()
    assert wan["weights"]["repo"] == "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    assert wan["weights"]["installed"] is False
    assert wan["needs_image"] is False
    measure = client.get("/v1/rewards/motion").json()
    assert measure["weights"] is None


def test_weights_that_were_fetched_tell_the_commit_that_was_pinned(
    settings: Settings, team: Team, tmp_path: Path
) -> None:
    unpinned = next(
        row
        for row in Catalogue.load(weights_dir=tmp_path).rewards.values()
        if row.weights is not None and row.weights.repo and row.revision == "unpinned"
    )
    assert unpinned.folder is not None
    assert unpinned.weights is not None
    commit, repo = "0123456789" * 4, unpinned.weights.repo or ""
    entry = weights_lock.Locked(repo=repo, commit=commit, files={})
    weights_lock.lock(unpinned.folder, entry)
    revisions = []
    with TestClient(create_app(settings.model_copy(update={"weights_dir": tmp_path}))) as client:
        for lock in (None, "not a lock"):
            if lock is not None:
                (tmp_path / weights_lock.LOCK_FILE).write_text(lock)
            row = client.get(f"/v1/rewards/{unpinned.id}", headers=team.headers).json()
            revisions.append(row["weights"]["revision"])
    assert revisions == [commit, "unpinned"]


def test_a_job_whose_weights_are_missing_is_refused_before_it_is_stored(
    client: TestClient,
) -> None:
    asked = document(base_model="wan2.1-t2v-1.3b")
    answer = client.post("/v1/jobs", json=asked, headers=new_key())
    assert answer.status_code == 422
    (fault,) = [f for f in answer.json()["errors"] if f["pointer"] == "/base_model"]
    assert fault["code"] == "weights_not_installed"
    assert "fetch wan2.1-t2v-1.3b" in fault["detail"]


def test_the_operators_rows_are_offered_too(settings: Settings, team: Team, tmp_path: Path) -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_copy(update={"id": "house-wan"})
    file = tmp_path / "catalogue.json"
    file.write_text(json.dumps({"base_models": [row.model_dump(mode="json")]}))
    with TestClient(create_app(settings.model_copy(update={"catalogue_file": file}))) as client:
        answer = client.get("/v1/base-models/house-wan", headers=team.headers)
    assert answer.json()["name"] == "house-wan@1"
