"""A job's events: the list, and the live stream over real sockets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient
from httpx_sse import ServerSentEvent, connect_sse

from api import streams
from domain import api_keys, db
from domain.claims import Claim
from domain.job_status import Status
from domain.settings import Settings
from domain.store import ObjectStore
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.teams import Team, post_job

Serve = Callable[[], AbstractContextManager[str]]


def stream(
    url: str, team: Team, path: str, *, last_event_id: int | None = None
) -> Iterator[ServerSentEvent]:
    """The events that a client of the stream gets."""
    headers = dict(team.headers)
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    with (
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
        connect_sse(client, "GET", path) as source,
    ):
        assert source.response.status_code == 200
        yield from source.iter_sse()


def test_events_are_listed_by_number_and_page(client: TestClient) -> None:
    job = post_job(client)
    lives.told(outputs.start(), trainer_lines.step(1))
    path = job["links"]["events"]
    everything = client.get(path).json()
    assert [event["seq"] for event in everything["data"]] == list(
        range(1, len(everything["data"]) + 1)
    )
    assert everything["has_more"] is False
    first = client.get(path, params={"limit": 2})
    assert [event["type"] for event in first.json()["data"]] == ["job.created", "job.queued"]
    assert first.json()["next_cursor"] == "2"
    second = client.get(first.links["next"]["url"]).json()
    assert second["data"] == everything["data"][2:4]
    [metric] = client.get(path, params={"type": "job.metric"}).json()["data"]
    assert metric["data"]["reward_queries"] == 8
    assert (metric["attempt"], metric["step"], metric["level"]) == (1, 1, "info")
    assert metric["job_id"] == job["id"]
    assert metric["id"].startswith("evt_")


def test_a_place_in_the_events_must_be_a_number(client: TestClient) -> None:
    path = post_job(client)["links"]["events"]
    sse = {"Accept": "text/event-stream"}
    for answer in (
        client.get(path, params={"after": "-1"}),
        client.get(path, params={"after": str(2**64)}),
        client.get(path, headers={**sse, "Last-Event-ID": "evt_1"}),
    ):
        assert answer.status_code == 422


def test_the_stream_of_an_ended_job_tells_everything_and_closes(
    client: TestClient, store: ObjectStore
) -> None:
    path = post_job(client)["links"]["events"]
    outputs.succeed(store)
    listed = client.get(path, params={"limit": 1000}).json()["data"]
    answer = client.get(path, headers={"Accept": "text/event-stream"})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: 3000\n")
    frames = answer.text.split("\n\n")[:-1]
    assert len(frames) == len(listed)
    assert frames[-1].startswith(f"id: {listed[-1]['seq']}\nevent: job.succeeded\ndata: {{")
    resumed = client.get(
        path, params={"after": listed[-1]["seq"]}, headers={"Accept": "text/event-stream"}
    )
    assert resumed.text == "retry: 3000\n"


def test_events_arrive_as_they_happen_each_once_and_in_order(
    serve: Serve, team: Team, client: TestClient, store: ObjectStore
) -> None:
    path = post_job(client)["links"]["events"]
    with serve() as url, ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(lambda: list(stream(url, team, path))) for _ in range(3)]
        time.sleep(0.3)
        outputs.succeed(store)
        heard = [watcher.result(timeout=20) for watcher in watchers]
    listed = client.get(path, params={"limit": 1000}).json()["data"]
    for found in heard:
        assert [event.json() for event in found] == listed
        assert [int(event.id) for event in found] == [event["seq"] for event in listed]
        assert [event.event for event in found] == [event["type"] for event in listed]


def test_an_event_is_heard_within_a_moment(serve: Serve, team: Team, client: TestClient) -> None:
    path = post_job(client)["links"]["events"]
    claim = outputs.start()
    with serve() as url:
        heard = stream(url, team, path)
        seen = next(event for event in heard if event.json()["data"].get("phase") == "training")
        assert seen.event == "job.phase_changed"
        threading.Timer(0.2, lambda: lives.told(claim, trainer_lines.step(1))).start()
        began = time.monotonic()
        assert next(heard).event == "job.metric"
        assert time.monotonic() - began < 2
        heard.close()


def test_a_stream_goes_on_after_the_server_was_restarted(
    serve: Serve, team: Team, client: TestClient, store: ObjectStore
) -> None:
    path = post_job(client)["links"]["events"]
    claim = outputs.start()
    seen: list[dict[str, Any]] = []
    with serve() as url:
        stopping = stream(url, team, path)
        seen.append(next(stopping).json())
        lives.told(claim, trainer_lines.step(1))
        seen.append(next(stopping).json())
        reader = threading.Thread(target=lambda: seen.extend(e.json() for e in stopping))
        reader.start()
        time.sleep(0.2)
    reader.join(timeout=10)
    assert not reader.is_alive(), "the stream did not end with its server"
    lives.told(claim, trainer_lines.step(2))
    lives.cancel(claim.job_id)
    _end_cancelled(claim)
    with serve() as url:
        last = seen[-1]["seq"]
        seen += [event.json() for event in stream(url, team, path, last_event_id=last)]
    assert seen == client.get(path, params={"limit": 1000}).json()["data"]
    assert seen[-1]["type"] == "job.cancelled"


def test_last_event_id_wins_over_after(client: TestClient, store: ObjectStore) -> None:
    path = post_job(client)["links"]["events"]
    outputs.succeed(store)
    last = client.get(path, params={"limit": 1000}).json()["data"][-1]["seq"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last - 1)}
    answer = client.get(path, params={"after": 1}, headers=headers)
    assert answer.text.count("event: ") == 1


def test_a_narrowed_stream_still_ends_with_the_job(client: TestClient, store: ObjectStore) -> None:
    path = post_job(client)["links"]["events"]
    outputs.succeed(store)
    answer = client.get(
        path, params={"type": "job.metric"}, headers={"Accept": "text/event-stream"}
    )
    assert answer.text.count("event: job.metric") == answer.text.count("event: ") == 20


def test_a_quiet_stream_is_kept_alive_and_ends_with_its_key(
    serve: Serve, team: Team, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.2)
    path = post_job(client)["links"]["events"]
    headers = {**team.headers, "Accept": "text/event-stream"}
    with serve() as url, httpx.stream("GET", url + path, headers=headers, timeout=10) as answer:
        lines = answer.iter_lines()
        assert any(line == ": keep-alive" for line in lines)
        with db.transaction() as session:
            api_keys.revoke(session, project_id=team.project_id, key_id=team.key_id)
        assert all(line in {"", ": keep-alive"} for line in lines)


def test_a_lost_notification_delays_an_event_by_one_keep_alive(
    serve: Serve,
    team: Team,
    client: TestClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.5)
    path = post_job(client)["links"]["events"]
    claim = outputs.start()
    with serve() as url:
        heard = stream(url, team, path)
        while next(heard).json()["data"].get("phase") != "training":
            pass
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query = 'LISTEN vader_events' AND datname = current_database()"
            )
        lives.told(claim, trainer_lines.step(1))
        assert next(heard).event == "job.metric"
        heard.close()


def test_hundreds_of_streams_share_the_connections_of_one_process(
    serve: Serve, team: Team, client: TestClient, settings: Settings
) -> None:
    path = post_job(client)["links"]["events"]
    claim = outputs.start()
    many = 120

    async def watch(session: httpx.AsyncClient, opened: asyncio.Semaphore) -> str:
        sse = {"Accept": "text/event-stream"}
        async with session.stream("GET", path, params={"after": 4}, headers=sse) as answer:
            assert answer.status_code == 200
            opened.release()
            return (await answer.aread()).decode()

    async def all_of(url: str) -> list[str]:
        opened = asyncio.Semaphore(0)
        limits = httpx.Limits(max_connections=many + 1)
        async with httpx.AsyncClient(
            base_url=url, headers=team.headers, limits=limits, timeout=60
        ) as session:
            watching = [asyncio.create_task(watch(session, opened)) for _ in range(many)]
            for _ in range(many):
                await opened.acquire()
            assert (await session.get("/v1/me")).status_code == 200
            with psycopg.connect(settings.database_url.get_secret_value()) as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                ).fetchone()
            assert row is not None
            assert row[0] <= 30
            await asyncio.to_thread(lives.told, claim, trainer_lines.step(1))
            await asyncio.to_thread(lives.cancel, claim.job_id)
            await asyncio.to_thread(_end_cancelled, claim)
            return await asyncio.gather(*watching)

    with serve() as url:
        heard = asyncio.run(all_of(url))
    assert len(set(heard)) == 1
    assert "event: job.metric" in heard[0]
    assert "event: job.cancelled" in heard[0]


def _end_cancelled(claim: Claim) -> None:
    lives.ended(claim, Status.CANCELLED)


@pytest.mark.parametrize(
    ("setting", "status", "code"),
    [("streams_of_project", 429, "rate_limited"), ("streams", 503, "unavailable")],
)
def test_so_many_streams_are_open_at_once_and_no_more(
    serve: Serve,
    team: Team,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    status: int,
    code: str,
) -> None:
    path = post_job(client)["links"]["events"]
    headers = {**team.headers, "Accept": "text/event-stream"}
    with (
        lives.changed_settings(monkeypatch, **{setting: "1"}),
        serve() as url,
        httpx.Client(base_url=url, headers=headers, timeout=10) as watcher,
    ):
        with watcher.stream("GET", path) as first:
            lines = first.iter_lines()
            assert next(lines) == "retry: 3000"
            refused = watcher.get(path)
            assert (refused.status_code, refused.json()["code"]) == (status, code)
            assert int(refused.headers["Retry-After"]) > 0
            assert watcher.get(path, headers={"Accept": "application/json"}).status_code == 200
        opened = 0
        while opened != 200:
            with watcher.stream("GET", path) as again:
                opened = again.status_code
