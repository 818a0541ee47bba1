from __future__ import annotations

import pytest

from domain import webhook_schedule
from domain.webhook_schedule import MAX_RETRY_AFTER_S, RETRY_DELAYS_S


def test_ten_tries_take_about_seventy_five_hours_and_then_there_is_none() -> None:
    delays = [webhook_schedule.delay_s(tries, retry_after_s=None) for tries in range(1, 10)]
    assert all(delay is not None for delay in delays)
    hours = sum(delay or 0 for delay in delays) / 3600
    assert 68 <= hours <= 84
    assert sum(RETRY_DELAYS_S) / 3600 == pytest.approx(75.6, abs=0.1)
    assert webhook_schedule.delay_s(10, retry_after_s=None) is None
    assert webhook_schedule.delay_s(10, retry_after_s=60) is None


def test_delays_differ_by_chance_but_little() -> None:
    drawn = {webhook_schedule.delay_s(3, retry_after_s=None) for _ in range(50)}
    assert len(drawn) > 10
    assert all(0.9 * 1800 <= (delay or 0) <= 1.1 * 1800 for delay in drawn)


def test_a_receiver_may_ask_for_more_time_within_limits() -> None:
    assert webhook_schedule.delay_s(1, retry_after_s=600) == 600
    assert webhook_schedule.delay_s(1, retry_after_s=1e9) == MAX_RETRY_AFTER_S
    sooner = webhook_schedule.delay_s(2, retry_after_s=0)
    assert sooner is not None
    assert sooner >= 270
