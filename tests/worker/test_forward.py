from __future__ import annotations

import time

import pytest

from domain.db import utc_now
from tests.worker.waiting import wait_until
from vader_core.lines import AnyLine, Phase
from worker.forward import BATCH_S, Forwarder


def line(step: int) -> AnyLine:
    return Phase(at=utc_now(), step=step, phase="training")


def test_every_line_arrives_in_order() -> None:
    got: list[AnyLine] = []
    with Forwarder(got.extend) as forwarder:
        for step in range(200):
            forwarder.put(line(step))
        forwarder.finish()
    assert [seen.step for seen in got] == list(range(200))


def test_lines_that_come_together_are_written_together_and_soon() -> None:
    batches: list[int] = []
    with Forwarder(lambda batch: batches.append(len(batch))) as forwarder:
        for step in range(50):
            forwarder.put(line(step))
        wait_until(lambda: batches, within_s=1.0)
    assert batches == [50]


def test_a_stream_of_lines_is_never_more_than_a_second_behind() -> None:
    delays: list[float] = []

    def record(batch: list[AnyLine]) -> None:
        delays.append(time.time() - batch[0].at.timestamp())

    with Forwarder(record) as forwarder:
        for step in range(75):
            forwarder.put(line(step))
            time.sleep(0.02)
        forwarder.finish()
    assert len(delays) >= 3
    assert max(delays) < 1.0


def test_what_went_wrong_with_a_batch_is_raised() -> None:
    def refuse(_batch: list[AnyLine]) -> None:
        raise ValueError("not today")

    with Forwarder(refuse) as forwarder:
        forwarder.put(line(1))
        with pytest.raises(ValueError, match="not today"):
            forwarder.finish()


def test_who_waits_for_the_lines_so_far_finds_them_written_and_not_only_after_a_full_batch() -> (
    None
):
    got: list[AnyLine] = []
    with Forwarder(got.extend) as forwarder:
        forwarder.put(line(1))
        began = time.monotonic()
        forwarder.wait_until_written()
        assert time.monotonic() - began < BATCH_S
        assert len(got) == 1


def test_who_waits_for_lines_that_cannot_be_written_is_told_so() -> None:
    def refuse(_batch: list[AnyLine]) -> None:
        raise ValueError("not today")

    with Forwarder(refuse) as forwarder:
        forwarder.put(line(1))
        for _ in range(2):
            with pytest.raises(ValueError, match="not today"):
                forwarder.wait_until_written()
