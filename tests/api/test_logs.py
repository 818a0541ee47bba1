"""A job's logs: as text while and after it runs, and as a stream over a real socket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from httpx_sse import ServerSentEvent, connect_sse

from domain import artifacts, claims, db, logs
from domain.claims import Claim
from domain.ids import to_public
from domain.job_errors import JobError
from domain.job_status import Status
from domain.store import ObjectStore
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.teams import Team, post_job

Serve = Callable[[], AbstractContextManager[str]]
BROKEN = JobError(code="internal", message="It broke.", retryable=False)


def log(claim: Claim, start: int, body: bytes) -> None:
    with db.transaction() as session:
        logs.append(session, job_id=claim.job_id, attempt=claim.attempt, start=start, body=body)


def store_log(claim: Claim, store: ObjectStore, folder: Path, body: bytes) -> None:
    """As a worker does when the trainer has ended."""
    key = f"{artifacts.attempt_prefix(claim.job_id, claim.attempt)}/log.txt"
    (folder / "log.txt").write_bytes(body)
    sha256 = hashlib.sha256(body).hexdigest()
    store.put_file(key, folder / "log.txt", sha256=sha256, content_type="text/plain")
    file = trainer_lines.file("log.txt", size_bytes=len(body), sha256=sha256)
    with db.transaction() as session:
        artifacts.add_log(session, job_id=claim.job_id, attempt=claim.attempt, key=key, file=file)


@pytest.fixture
def running(client: TestClient) -> Claim:
    post_job(client)
    return outputs.start()


def path_of(claim: Claim) -> str:
    return f"/v1/jobs/{to_public('job', claim.job_id)}/logs"


def test_a_job_that_waits_has_no_log(client: TestClient) -> None:
    job = post_job(client)
    answer = client.get(f"{job['links']['self']}/logs")
    assert (answer.status_code, answer.text) == (200, "")
    assert "X-Log-Attempt" not in answer.headers
    missing = client.get(f"{job['links']['self']}/logs", params={"attempt": 1})
    assert missing.json()["code"] == "not_found"


def test_a_running_attempts_log_is_read_while_it_grows(client: TestClient, running: Claim) -> None:
    log(running, 0, b"loading\n")
    log(running, 8, b"step 1\nstep 2\n")
    answer = client.get(path_of(running))
    assert answer.text == "loading\nstep 1\nstep 2\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (answer.headers["X-Log-Attempt"], answer.headers["X-Log-Complete"]) == ("1", "false")
    tail = client.get(path_of(running), params={"tail": 1})
    assert (tail.text, tail.headers["X-Log-Offset"]) == ("step 2\n", "15")


def test_the_log_of_an_ended_attempt_is_read_from_the_store(
    client: TestClient, running: Claim, store: ObjectStore, tmp_path: Path
) -> None:
    log(running, 0, b"first half")
    body = b"first half and second\n" * 10_000 + b"caf\xe9\n"
    store_log(running, store, tmp_path, body)
    answer = client.get(path_of(running), params={"attempt": 1})
    assert answer.text == body.decode(errors="replace")
    assert answer.headers["X-Log-Complete"] == "true"
    tail = client.get(path_of(running), params={"tail": 2})
    assert tail.text == "first half and second\ncaf\ufffd\n"
    assert tail.headers["X-Log-Offset"] == str(len(body) - 27)


def test_logs_of_others_do_not_exist(client: TestClient, running: Claim, other_team: Team) -> None:
    log(running, 0, b"secret\n")
    for accept in ("text/plain", "text/event-stream"):
        headers = {**other_team.headers, "Accept": accept}
        assert client.get(path_of(running), headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("params", "headers"),
    [
        ({"tail": "0"}, {}),
        ({"attempt": "0"}, {}),
        ({"tail": "x"}, {}),
        ({}, {"Accept": "text/event-stream", "Last-Event-ID": "3"}),
    ],
)
def test_odd_places_are_refused(
    client: TestClient, running: Claim, params: dict[str, str], headers: dict[str, str]
) -> None:
    assert client.get(path_of(running), params=params, headers=headers).status_code == 422


def stream(
    url: str, team: Team, path: str, *, last_event_id: str | None = None
) -> Iterator[ServerSentEvent]:
    headers = dict(team.headers)
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    with (
        httpx.Client(base_url=url, headers=headers, timeout=20) as client,
        connect_sse(client, "GET", path) as source,
    ):
        assert source.response.status_code == 200
        yield from source.iter_sse()


def told(event: ServerSentEvent) -> tuple[int, int, str]:
    data = json.loads(event.data)
    return data["attempt"], data["offset"], data["text"]


def test_the_stream_follows_a_log_through_its_attempts_to_the_jobs_end(
    client: TestClient,
    running: Claim,
    team: Team,
    serve: Serve,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    log(running, 0, b"one\n")
    with serve() as url:
        live = stream(url, team, path_of(running))
        assert told(next(live)) == (1, 0, "one\n")
        log(running, 4, b"two\n")
        assert told(next(live)) == (1, 4, "two\n")
        store_log(running, store, tmp_path, b"one\ntwo\nthree\n")
        assert told(next(live)) == (1, 8, "three\n")
        with db.transaction() as session:
            claims.release(
                session, job_id=running.job_id, attempt=running.attempt, reason="drained"
            )
        again = outputs.start()
        log(again, 0, b"second try\n")
        event = next(live)
        assert (event.event, event.id, told(event)) == ("log", "2-11", (2, 0, "second try\n"))
        lives.ended(again, Status.FAILED, error=BROKEN)
        assert list(live) == []
        everything = [told(event) for event in stream(url, team, path_of(running))]
        assert everything == [(1, 0, "one\ntwo\nthree\n"), (2, 0, "second try\n")]
        rest = [told(e) for e in stream(url, team, path_of(running), last_event_id="1-8")]
        assert rest == [(1, 8, "three\n"), (2, 0, "second try\n")]
        only = [told(e) for e in stream(url, team, f"{path_of(running)}?attempt=1")]
        assert only == [(1, 0, "one\ntwo\nthree\n")]
        last = [told(e) for e in stream(url, team, f"{path_of(running)}?attempt=1&tail=1")]
        assert last == [(1, 8, "three\n")]


def test_the_stream_of_a_long_stored_log_comes_in_whole_lines(
    client: TestClient,
    running: Claim,
    team: Team,
    serve: Serve,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    body = b"".join(b"line %06d\n" % number for number in range(20_000))
    store_log(running, store, tmp_path, body)
    lives.ended(running, Status.FAILED, error=BROKEN)
    with serve() as url:
        parts = [told(event) for event in stream(url, team, path_of(running))]
    assert len(parts) > 3
    assert all(text.endswith("\n") for _, _, text in parts)
    assert "".join(text for _, _, text in parts).encode() == body
