from __future__ import annotations

import pytest

from domain.job_status import HELD, TERMINAL, TRANSITIONS, Status, allowed_actions, sources


def test_every_status_has_its_ways_and_three_have_none() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == TERMINAL


@pytest.mark.parametrize("status", [status for status in Status if status not in TERMINAL])
def test_from_every_other_status_an_end_can_be_reached(status: Status) -> None:
    reached, last = {status}, set[Status]()
    while reached != last:
        last = reached
        reached = reached | {to for known in reached for to in TRANSITIONS[known]}
    assert reached & TERMINAL


def test_success_comes_from_finalizing_alone() -> None:
    assert sources(Status.SUCCEEDED) == [Status.FINALIZING]


@pytest.mark.parametrize("status", list(Status))
def test_cancel_is_offered_where_it_can_be_asked(status: Status) -> None:
    offered = allowed_actions(status) == ["cancel"]
    assert offered == (status in (HELD | {Status.QUEUED}) - {Status.CANCELLING})
