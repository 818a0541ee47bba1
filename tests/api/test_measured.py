"""What Prometheus reads: sound text, true counts, and nothing of any project."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import pytest
from fastapi.testclient import TestClient
from httpx_sse import connect_sse
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from api.app import create_app
from api.measured import route_class
from domain.settings import Settings, get_settings
from tests import lives
from tests.api.teams import Team, post_job


def numbers(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Every number by its name and the values of its labels, by the labels' names."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_no_credential_is_needed_and_nothing_of_a_project_is_told(
    client: TestClient,
) -> None:
    job = post_job(client, name="a name that nobody else may read")
    del client.headers["Authorization"]
    told = client.get("/metrics").text
    assert 'vader_jobs{status="queued"}' in told
    assert "a name" not in told
    assert job["id"] not in told
    assert job["project_id"] not in told


def test_requests_are_counted_by_kind_of_route_and_status(client: TestClient) -> None:
    job = post_job(client)
    for _ in range(2):
        client.get(f"/v1/jobs/{job['id']}")
    client.get("/v1/jobs/nonsense/events")
    client.get(f"/v1/nowhere/{job['id']}")
    found = numbers(client)
    assert found["vader_http_requests_total", "POST", "jobs", "202"] == 1
    assert found["vader_http_requests_total", "GET", "jobs", "200"] == 2
    assert found["vader_http_requests_total", "GET", "jobs", "404"] == 1
    assert found["vader_http_requests_total", "GET", "unknown", "404"] == 1
    assert found["vader_http_request_seconds_count", "GET", "jobs"] == 3
    assert found["vader_http_request_seconds_bucket", "+Inf", "GET", "jobs"] == 3
    assert found["vader_http_request_seconds_sum", "GET", "jobs"] > 0
    assert found["vader_open_streams",] == 0


def test_the_services_numbers_are_those_of_the_database(client: TestClient) -> None:
    lives.training()
    lives.waiting()
    found = numbers(client)
    assert found["vader_database_up",] == 1
    assert found["vader_jobs", "running"] == 1
    assert found["vader_jobs", "failed"] == 0
    assert found["vader_queue_depth", "training"] == 1
    assert found["vader_leases_held", "training"] == 1
    assert found["vader_workers_alive", "generation"] == 0
    assert found["vader_webhook_backlog",] == 0


def test_the_database_is_not_asked_at_every_request(client: TestClient) -> None:
    assert numbers(client)["vader_jobs", "queued"] == 0
    lives.waiting()
    assert numbers(client)["vader_jobs", "queued"] == 0


def test_without_a_database_the_rest_is_still_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    monkeypatch.setenv("VADER_DATABASE_URL", nowhere)
    get_settings.cache_clear()
    away = settings.model_copy(update={"database_url": SecretStr(nowhere)})
    client = TestClient(create_app(away))
    client.get("/livez")
    found = numbers(client)
    assert found["vader_database_up",] == 0
    assert found["vader_http_requests_total", "GET", "livez", "200"] == 1
    assert not [name for name, *_ in found if name == "vader_jobs"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/jobs/{job_id}/events", "jobs"),
        ("/v1/uploads", "uploads"),
        ("/livez", "livez"),
        (None, "unknown"),
        ("/", "unknown"),
    ],
)
def test_a_route_is_told_by_its_first_part(path: str | None, expected: str) -> None:
    assert route_class(path) == expected


def test_open_streams_are_counted_while_somebody_listens(
    client: TestClient, team: Team, serve: Callable[[], AbstractContextManager[str]]
) -> None:
    path = post_job(client)["links"]["events"]
    with serve() as url, httpx.Client(base_url=url, headers=team.headers, timeout=20) as reader:
        with connect_sse(reader, "GET", path) as source:
            heard = source.iter_sse()
            next(heard)
            assert numbers(reader)["vader_open_streams",] == 1
            assert ("vader_http_requests_total", "GET", "jobs", "200") not in numbers(reader)
        give_up_at = time.monotonic() + 20
        while numbers(reader)["vader_open_streams",]:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
