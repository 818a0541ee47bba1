from __future__ import annotations

import pytest

from client import VaderClient
from client.errors import NotFound, UnexpectedAnswer
from client.models import Event
from tests.client.scripted_server import (
    Reply,
    Script,
    json_reply,
    problem_reply,
    serving,
    stream_reply,
)
from tests.client.shapes import JOB_ID, event_body, job_body


def _all_events(script: Script, *, after: int = 0) -> list[Event]:
    with VaderClient(script.url, "key") as vader:
        return list(vader.events(JOB_ID, after=after))


def test_a_broken_stream_goes_on_with_no_event_missing_or_twice() -> None:
    first, second, third = (event_body(n, "metric") for n in (1, 2, 3))
    replies = (
        stream_reply([first, second], cut=True),
        Reply(503),
        stream_reply([second, third, event_body(4, "succeeded")]),
    )
    with serving(*replies) as script:
        events = _all_events(script)
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert [asked.headers.get("Last-Event-ID") for asked in script.asked] == [None, "2", "2"]


def test_a_stream_that_ends_early_is_opened_again_while_the_job_goes_on() -> None:
    replies = (
        stream_reply([event_body(1, "queued")]),
        json_reply(job_body()),
        stream_reply([event_body(2, "cancelled")]),
    )
    with serving(*replies) as script:
        assert [event.seq for event in _all_events(script)] == [1, 2]


def test_a_reader_that_has_seen_the_end_stops() -> None:
    replies = (
        stream_reply([]),
        json_reply(job_body(status="succeeded", terminal=True)),
        stream_reply([]),
    )
    with serving(*replies) as script:
        assert _all_events(script, after=7) == []


def test_events_between_the_last_stream_and_the_end_are_not_lost() -> None:
    replies = (
        stream_reply([]),
        json_reply(job_body(status="succeeded", terminal=True)),
        stream_reply([event_body(8, "succeeded")]),
    )
    with serving(*replies) as script:
        assert [event.seq for event in _all_events(script, after=7)] == [8]


def test_an_unknown_job_is_not_asked_for_twice() -> None:
    with serving(problem_reply(404, "not_found")) as script, pytest.raises(NotFound):
        _all_events(script)


def test_a_page_instead_of_a_stream_is_told() -> None:
    with serving(json_reply({"data": []})) as script, pytest.raises(UnexpectedAnswer):
        _all_events(script)
