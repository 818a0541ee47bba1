from __future__ import annotations

import pytest

from domain.job_status import TERMINAL, TRANSITIONS, Status, allowed_actions, sources


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
def test_actions_are_offered_where_the_table_has_a_way_for_them(status: Status) -> None:
    offered = set(allowed_actions(status))
    assert ("cancel" in offered) == (Status.CANCELLING in TRANSITIONS[status])
    assert ("pause" in offered) == bool(
        {Status.PAUSING, Status.PAUSED} & set(ways_to_pause(status))
    )
    assert ("resume" in offered) == (status is Status.PAUSED)
    assert ("delete" in offered) == (status in TERMINAL)
    assert ("patch" in offered) == (status not in ENDING)


ENDING = {Status.FINALIZING, Status.CANCELLING} | TERMINAL


def ways_to_pause(status: Status) -> set[Status]:
    """What a wish to pause may lead to: a job that is pausing already needs no other."""
    return set() if status is Status.PAUSING else set(TRANSITIONS[status])
