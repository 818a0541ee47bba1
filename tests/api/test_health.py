"""What load balancers are told."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from domain.settings import Settings


def test_a_service_with_everything_at_hand_is_ready(anonymous: TestClient) -> None:
    assert anonymous.get("/livez").json() == {"status": "ok"}
    assert anonymous.get("/readyz").json() == {
        "status": "ok",
        "checks": {"database": "ok", "redis": "ok", "object_store": "ok"},
    }


def test_programs_that_read_find_the_documentation(client: TestClient) -> None:
    answer = client.get("/llms.txt")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("# VADER\n\n> ")
    links = re.findall(r"\]\((http[^)]+)\)", answer.text)
    assert f"{client.base_url}/openapi.json" in links
    for link in links:
        assert client.get(link).status_code == 200, link
    assert "/v1/jobs/dry-run" in client.get("/openapi.json").json()["paths"]


def test_what_is_away_is_named(settings: Settings, tmp_path: Path, monkeypatch: object) -> None:
    (tmp_path / "blocked").write_text("a file where the folder should be")
    away = settings.model_copy(update={"object_store": f"folder://{tmp_path / 'blocked'}"})
    with TestClient(create_app(away)) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json()["checks"] == {
        "database": "ok",
        "redis": "ok",
        "object_store": "unavailable",
    }
