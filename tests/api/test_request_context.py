"""What every request is given: an id, a trace, a log line, headers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from tests import lives
from tests.api.teams import make_team, post_job

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_sound_request_id_is_kept_and_another_replaced(anonymous: TestClient) -> None:
    kept = anonymous.get("/livez", headers={"X-Request-Id": "build-17.4"})
    assert kept.headers["X-Request-Id"] == "build-17.4"
    for unsound in ("a b", "x" * 65, "<script>"):
        made = anonymous.get("/livez", headers={"X-Request-Id": unsound})
        assert made.headers["X-Request-Id"].startswith("req_")


def test_polls_that_find_nothing_new_are_logged_for_debugging_alone(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "api.access")
    path = f"/v1/jobs/{post_job(client)['id']}"
    tag = client.get(path).headers["ETag"]
    client.get(path, headers={"If-None-Match": tag})
    levels = {(record.levelname, record.args[2]) for record in caplog.records if record.args}
    assert {("INFO", 200), ("DEBUG", 304)} <= levels


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


def test_a_connections_next_request_sees_nothing_of_the_project_before(
    serve: Callable[[], AbstractContextManager[str]],
) -> None:
    team = make_team("ads")
    lives.waiting()
    key = {"Authorization": f"Bearer {team.token}", "Idempotency-Key": "large"}
    with serve() as url, closing(HTTPConnection(urlsplit(url).netloc)) as connection:
        # While a body of this size is read, the server goes on in the request's own context.
        large = {**key, "Content-Type": "video/mp4"}
        connection.request("POST", "/v1/uploads", body=b"x" * 2_000_000, headers=large)
        connection.getresponse().read()
        connection.request("GET", "/metrics")
        numbers = connection.getresponse().read().decode()
    # Of all projects, as the service counts for its operators.
    assert 'vader_jobs{status="queued"} 1.0' in numbers
