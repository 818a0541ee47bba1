"""A project's events as one list and one stream, over real sockets and across server processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from httpx_sse import ServerSentEvent, aconnect_sse, connect_sse
from sqlalchemy import func, select

from domain import db, events, ids
from tests import servers
from tests.api.teams import Team, post_job
from tests.worker.waiting import wait_until

Serve = Callable[[], AbstractContextManager[str]]
FEED = "/v1/events"


def tell(job: dict[str, Any], *messages: str, kind: str = "job.warning") -> None:
    job_id = ids.from_public("job", job["id"])
    for message in messages:
        with db.transaction() as session:
            events.append(session, job_id=job_id, type=kind, message=message)


def stream(
    url: str, team: Team, after: str | None = None, **parameters: str
) -> Iterator[ServerSentEvent]:
    headers = {**team.headers, **({} if after is None else {"Last-Event-ID": after})}
    with (
        httpx.Client(base_url=url, headers=headers, timeout=30) as client,
        connect_sse(client, "GET", FEED, params=parameters) as source,
    ):
        assert source.response.status_code == 200
        try:
            yield from source.iter_sse()
        except httpx.RemoteProtocolError:
            # The server was killed.
            return


@contextmanager
def process() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The API in a process of its own."""
    port = servers.free_port()
    running = subprocess.Popen(
        [sys.executable, "-m", "api", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=servers.end_with_parent,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), within_s=60, what="the API")
        yield url, running
    finally:
        running.kill()
        running.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_all_jobs_events_are_one_list_by_pages(client: TestClient) -> None:
    jobs = [post_job(client) for _ in range(3)]
    tell(jobs[0], "the last")
    everything = client.get(FEED).json()
    assert len(everything["data"]) == 7
    assert everything["has_more"] is False
    assert everything["next_cursor"] is None
    paged: list[dict[str, Any]] = []
    answer = client.get(FEED, params={"limit": 3})
    while True:
        paged += answer.json()["data"]
        if not answer.json()["has_more"]:
            break
        answer = client.get(answer.links["next"]["url"])
    assert paged == everything["data"]
    assert paged[-1]["message"] == "the last"
    own = client.get(jobs[0]["links"]["events"]).json()["data"]
    assert [event for event in paged if event["job_id"] == jobs[0]["id"]] == own


def test_a_poller_goes_on_where_it_was(client: TestClient) -> None:
    assert client.get(FEED).json()["data"] == []
    place = client.get(FEED).json()["resume_after"]
    job = post_job(client)
    answer = client.get(FEED, params={"after": place}).json()
    assert [event["type"] for event in answer["data"]] == ["job.created", "job.queued"]
    place = answer["resume_after"]
    assert client.get(FEED, params={"after": place}).json() == {
        "data": [],
        "next_cursor": None,
        "has_more": False,
        "resume_after": place,
    }
    latest = client.get(FEED, params={"after": "latest"}).json()
    assert latest["data"] == []
    tell(job, "new")
    for after in (place, latest["resume_after"]):
        [event] = client.get(FEED, params={"after": after}).json()["data"]
        assert event["message"] == "new"


def test_the_feed_is_narrowed_by_type_and_job(client: TestClient) -> None:
    first, second = post_job(client), post_job(client)
    tell(first, "one", kind="job.metric")
    tell(second, "two", kind="job.metric")
    metrics = client.get(FEED, params={"type": "job.metric"}).json()["data"]
    assert [event["message"] for event in metrics] == ["one", "two"]
    both = client.get(FEED, params={"type": ["job.metric", "job.created"], "job": second["id"]})
    assert [event["type"] for event in both.json()["data"]] == ["job.created", "job.metric"]


def test_a_place_that_the_service_did_not_give_is_refused(client: TestClient) -> None:
    for after in ("3", "nonsense", "A" * 43 + "="):
        answer = client.get(FEED, params={"after": after})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    sse = {"Accept": "text/event-stream", "Last-Event-ID": "3"}
    assert client.get(FEED, headers=sse).status_code == 400


def test_another_projects_events_and_jobs_do_not_exist(
    client: TestClient, other_team: Team
) -> None:
    job = post_job(client)
    client.headers.update(other_team.headers)
    assert client.get(FEED).json()["data"] == []
    assert client.get(FEED, params={"job": job["id"]}).status_code == 404


def test_the_stream_tells_each_event_once_and_in_order(
    serve: Serve, team: Team, client: TestClient
) -> None:
    jobs = [post_job(client) for _ in range(2)]
    with serve() as url:
        heard = stream(url, team)
        seen = [next(heard) for _ in range(4)]
        writers = [
            threading.Thread(target=tell, args=(job, *(f"{n}" for n in range(10)))) for job in jobs
        ]
        for writer in writers:
            writer.start()
        seen += [next(heard) for _ in range(20)]
        heard.close()
    listed = client.get(FEED, params={"limit": 1000}).json()["data"]
    assert [event.json() for event in seen] == listed
    resumed = client.get(FEED, params={"after": seen[10].id}).json()["data"]
    assert resumed == listed[11:]


def test_a_stream_shows_what_commits_late_as_soon_as_it_may(
    serve: Serve, team: Team, client: TestClient
) -> None:
    slow_job, quick_job = post_job(client), post_job(client)
    with serve() as url:
        heard = stream(url, team, after=client.get(FEED).json()["resume_after"])
        with db.transaction() as slow, ThreadPoolExecutor(1) as pool:
            job_id = ids.from_public("job", slow_job["id"])
            events.append(slow, job_id=job_id, type="job.warning", message="late")
            slow.flush()
            tell(quick_job, "early")
            following = pool.submit(lambda: [next(heard), next(heard)])
            with pytest.raises(TimeoutError):
                following.result(0.5)
            slow.commit()
            seen = following.result(10)
        heard.close()
    assert [event.json()["message"] for event in seen] == ["late", "early"]


def test_a_stream_looks_again_by_itself_when_an_older_transaction_ends_without_a_word(
    serve: Serve, team: Team, client: TestClient
) -> None:
    job = post_job(client)
    with serve() as url:
        heard = stream(url, team, after=client.get(FEED).json()["resume_after"])
        with db.read() as older, ThreadPoolExecutor(1) as pool:
            older.execute(select(func.pg_current_xact_id()))
            tell(job, "held back")
            following = pool.submit(lambda: next(heard))
            with pytest.raises(TimeoutError):
                following.result(0.5)
            older.rollback()
            assert following.result(10).json()["message"] == "held back"
        heard.close()


def test_a_stream_goes_on_at_another_server_when_its_own_is_killed(
    team: Team, client: TestClient
) -> None:
    job = post_job(client)
    with process() as (first, running), process() as (second, _):
        heard = stream(first, team)
        seen = [next(heard) for _ in range(2)]
        stop = threading.Event()
        written: list[str] = []

        def write() -> None:
            while not stop.is_set():
                written.append(f"event {len(written)}")
                tell(job, written[-1])

        writer = threading.Thread(target=write)
        writer.start()
        seen += [next(heard) for _ in range(20)]
        running.kill()
        seen += list(heard)
        at_the_kill = len(seen)
        heard = stream(second, team, after=seen[-1].id)
        seen += [next(heard) for _ in range(20)]
        stop.set()
        writer.join()
        while len(seen) < len(written) + 2:
            seen.append(next(heard))
        heard.close()
    assert at_the_kill < len(seen)
    assert [event.json()["message"] for event in seen[2:]] == written
    assert [event.json() for event in seen] == client.get(FEED, params={"limit": 1000}).json()[
        "data"
    ]


def test_fifty_streams_hear_everything_once_and_in_order(
    serve: Serve, team: Team, client: TestClient
) -> None:
    jobs = [post_job(client) for _ in range(5)]
    many, told = 50, 40

    async def watch(
        session: httpx.AsyncClient, number: int, opened: asyncio.Semaphore
    ) -> list[Any]:
        # Some watch the project, some a job.
        path = FEED if number % 2 else jobs[number % 5]["links"]["events"]
        wanted = 5 * (2 + told) if number % 2 else 2 + told
        seen: list[Any] = []
        async with aconnect_sse(session, "GET", path) as source:
            async for event in source.aiter_sse():
                seen.append(event.json())
                if len(seen) == 1:
                    opened.release()
                if len(seen) == wanted:
                    return seen
        return seen

    async def all_of(url: str) -> list[list[Any]]:
        opened = asyncio.Semaphore(0)
        limits = httpx.Limits(max_connections=many)
        async with httpx.AsyncClient(
            base_url=url, headers=team.headers, limits=limits, timeout=60
        ) as session:
            watching = [asyncio.create_task(watch(session, n, opened)) for n in range(many)]
            for _ in range(many):
                await opened.acquire()
            writing = [asyncio.to_thread(tell, job, *(f"{n}" for n in range(told))) for job in jobs]
            await asyncio.gather(*writing)
            return await asyncio.gather(*watching)

    with serve() as url:
        heard = asyncio.run(all_of(url))
    listed = client.get(FEED, params={"limit": 1000}).json()["data"]
    for number, seen in enumerate(heard):
        job_id = jobs[number % 5]["id"]
        assert seen == (
            listed if number % 2 else [event for event in listed if event["job_id"] == job_id]
        )
