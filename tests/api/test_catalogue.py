"""Base models and rewards, built in and the operator's own."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from domain.settings import Settings
from tests.api.teams import Team
from vader_core.catalogue import BUILT_IN


def test_base_models_tell_limits_and_defaults_and_no_folder(client: TestClient) -> None:
    page = client.get("/v1/base-models").json()
    assert {row["id"] for row in page["data"]} == set(BUILT_IN.base_models)
    wan = client.get("/v1/base-models/tiny-wan@1").json()
    assert wan == client.get("/v1/base-models/tiny-wan").json()
    assert wan["limits"]["num_frames"] == {"minimum": 1, "maximum": 25, "multiple": 2, "offset": 1}
    assert wan["limits"]["adapter_rank"]["maximum"] == 512
    assert wan["defaults"]["width"] == 32
    assert "folder" not in json.dumps(page)


def test_rewards_tell_targets_and_parameters(client: TestClient) -> None:
    page = client.get("/v1/rewards").json()
    assert {row["id"] for row in page["data"]} == set(BUILT_IN.rewards)
    action = client.get("/v1/rewards/tiny-action").json()
    assert action["needs_target"] is True
    assert "moving left" in action["targets"]
    assert action["direction"] == "higher_is_better"
    assert action["params_schema"]["type"] == "object"
    assert "folder" not in json.dumps(page)


def test_unknown_rows_are_not_found(client: TestClient) -> None:
    for path in ("base-models/none", "base-models/tiny-wan@9", "rewards/none", "rewards/@1"):
        assert client.get(f"/v1/{path}").status_code == 404


def test_the_operators_rows_are_offered_too(settings: Settings, team: Team, tmp_path: Path) -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_copy(update={"id": "house-wan"})
    file = tmp_path / "catalogue.json"
    file.write_text(json.dumps({"base_models": [row.model_dump(mode="json")]}))
    with TestClient(create_app(settings.model_copy(update={"catalogue_file": file}))) as client:
        answer = client.get("/v1/base-models/house-wan", headers=team.headers)
    assert answer.json()["name"] == "house-wan@1"
