"""What every request is given: an id, a trace, a log line, headers."""

from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient

from tests.api.teams import post_job

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_sound_request_id_is_kept_and_another_replaced(anonymous: TestClient) -> None:
    kept = anonymous.get("/livez", headers={"X-Request-Id": "build-17.4"})
    assert kept.headers["X-Request-Id"] == "build-17.4"
    for unsound in ("a b", "x" * 65, "<script>"):
        made = anonymous.get("/livez", headers={"X-Request-Id": unsound})
        assert made.headers["X-Request-Id"].startswith("req_")


def test_the_callers_trace_is_kept_if_it_is_one(client: TestClient) -> None:
    client.headers["traceparent"] = f"00-{TRACE}-b7ad6b7169203331-01"
    assert post_job(client)["trace_id"] == TRACE
    for unsound in (f"00-{'0' * 32}-b7ad6b7169203331-01", "nonsense"):
        client.headers["traceparent"] = unsound
        made = post_job(client)["trace_id"]
        assert len(made) == 32
        assert made not in {TRACE, "0" * 32}


def test_answers_are_not_for_shared_caches(client: TestClient) -> None:
    answer = client.get("/v1/me")
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_access_log_has_no_secrets_and_one_line_a_request(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client.get("/v1/objects/a%0Ab", params={"sig": "swordfish", "exp": 1, "filename": "f"})
    [line] = [record.getMessage() for record in caplog.records if record.name == "api.access"]
    assert line.startswith("GET '/v1/objects/a\\nb' 404 ")
    assert "swordfish" not in line
    assert client.headers["Authorization"].removeprefix("Bearer ") not in caplog.text
