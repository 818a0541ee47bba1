"""Every error is one problem document, whoever found it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import psycopg
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.documents import MAX_BODY_BYTES
from domain.settings import Settings
from tests.api.teams import new_key, post_job
from tests.factories import document

REQUIRED = ("type", "title", "status", "detail", "instance", "code", "retryable", "request_id")


def problem_of(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem that `answer` is, checked in all that problems have in common."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(REQUIRED) <= set(problem)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return problem


def test_the_frameworks_refusals_are_problems_too(client: TestClient) -> None:
    problem_of(client.get("/v1/no-such-thing"), 404, "not_found")
    problem_of(client.get("/"), 404, "not_found")
    wrong_method = client.delete("/v1/me")
    problem_of(wrong_method, 405, "method_not_allowed")
    assert wrong_method.headers["Allow"] == "GET"
    assert client.delete("/v1/jobs").headers["Allow"] == "GET, POST"
    assert client.put("/v1/jobs/dry-run").headers["Allow"] == "POST"


def test_every_problem_links_to_what_it_means(client: TestClient) -> None:
    problem = problem_of(client.get("/v1/jobs/job_nonsense"), 404, "not_found")
    meaning = client.get(problem["type"].removeprefix("http://127.0.0.1:8000"))
    assert meaning.json()["code"] == "not_found"
    assert meaning.json()["meaning"]
    problem_of(client.get("/problems/no-such-problem"), 404, "not_found")


def test_a_body_that_is_no_strict_json_is_told_so(client: TestClient) -> None:
    headers = {**new_key(), "Content-Type": "application/json"}
    for body in (
        b"{",
        b'{"a": 1} x',
        b"\xff\xfe{}",
        b'{"seed": NaN}',
        b'{"seed": 1e999}',
        b'{"seed": 1, "seed": 2}',
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
    ):
        problem_of(client.post("/v1/jobs", content=body, headers=headers), 400, "malformed_json")


def test_the_kind_of_invalid_input_is_about_bodies_and_parameters(client: TestClient) -> None:
    meaning = client.get("/problems/validation-failed").json()["meaning"]
    assert "body" in meaning
    assert "parameter" in meaning


def test_bodies_of_other_media_types_are_refused(client: TestClient) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""):
        headers = {**new_key(), "Content-Type": media_type}
        answer = client.post("/v1/jobs", content=b"{}", headers=headers)
        problem_of(answer, 415, "unsupported_media_type")
    headers = {**new_key(), "Content-Type": "application/json; charset=utf-8"}
    problem_of(client.post("/v1/jobs", content=b"{}", headers=headers), 422, "validation_failed")


def test_a_body_over_the_limit_is_refused_announced_or_not(client: TestClient) -> None:
    headers = {**new_key(), "Content-Type": "application/json"}
    announced = client.post("/v1/jobs", content=b" " * (MAX_BODY_BYTES + 1), headers=headers)
    problem = problem_of(announced, 413, "body_too_large")
    assert str(MAX_BODY_BYTES) in problem["detail"]
    chunks = (b" " * (1 << 20) for _ in range(10))
    streamed = client.post("/v1/jobs", content=chunks, headers=headers)
    problem_of(streamed, 413, "body_too_large")


def test_texts_that_postgres_cannot_keep_are_pointed_at(client: TestClient) -> None:
    body = b'{"name": "a\\ud800b", "labels": {"nul": "\\u0000", "x\\u0000y": "1"}}'
    headers = {**new_key(), "Content-Type": "application/json"}
    problem = problem_of(
        client.post("/v1/jobs", content=body, headers=headers), 422, "validation_failed"
    )
    illegal = [f["pointer"] for f in problem["errors"] if f["code"] == "illegal_character"]
    assert sorted(illegal) == ["/labels", "/labels/nul", "/name"]


def test_an_unexpected_error_says_nothing_of_its_cause(app: FastAPI, client: TestClient) -> None:
    def broken() -> None:
        raise RuntimeError("the password is swordfish")

    app.add_api_route("/broken", broken)
    answer = client.get("/broken", headers={"X-Request-Id": "mine-1"})
    problem = problem_of(answer, 500, "internal")
    assert "swordfish" not in answer.text
    assert problem["request_id"] == "mine-1"


def test_without_a_database_requests_are_told_when_to_come_back(
    client: TestClient, settings: Settings, postgres_url: str
) -> None:
    job = post_job(client)
    name = urlsplit(settings.database_url.get_secret_value()).path.removeprefix("/")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        for answer in (
            client.get(job["links"]["self"]),
            client.post("/v1/jobs", json=document(), headers=new_key()),
        ):
            problem = problem_of(answer, 503, "unavailable")
            assert problem["retryable"] is True
            assert int(answer.headers["Retry-After"]) > 0
        away = problem_of(client.get("/readyz"), 503, "unavailable")
        assert away["checks"] == {"database": "unavailable", "redis": "ok", "object_store": "ok"}
        assert client.get("/livez").status_code == 200
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert client.get(job["links"]["self"]).status_code == 200
