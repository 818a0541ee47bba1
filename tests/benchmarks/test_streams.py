"""The benchmark of open streams sees what is lost, doubled or out of order."""

from __future__ import annotations

import pytest

from benchmarks.streams import Listener, Measured, compare, report

EXPECTED = [("job_a", 1), ("job_b", 1), ("job_a", 2)]


def test_streams_that_heard_what_is_theirs_pass() -> None:
    compare([Listener(None, heard=EXPECTED), Listener("job_a", heard=EXPECTED[::2])], EXPECTED)


@pytest.mark.parametrize(
    "heard", [EXPECTED[:2], [*EXPECTED, EXPECTED[2]], EXPECTED[::-1], [("job_c", 1), *EXPECTED]]
)
def test_a_stream_that_heard_anything_else_ends_the_run(heard: list[tuple[str, int]]) -> None:
    with pytest.raises(SystemExit, match="1 of 2 streams"):
        compare([Listener(None, heard=EXPECTED), Listener(None, heard=heard)], EXPECTED)


def test_the_page_tells_what_was_measured() -> None:
    measured = Measured(
        streams=4,
        events=10,
        frames=22,
        delays_s=[0.2, *[0.05] * 999],
        opening_s=1.0,
        writing_s=5.0,
        rss_before=100 * 2**20,
        rss_open=101 * 2**20,
        rss_after=102 * 2**20,
        cpu_s=0.5,
        connections=3,
    )
    page = report(measured, rate=2, jobs=2)
    assert "| frames delivered | 22, every one once and in order |" in page
    assert "| from the write to the listener: p50 | 50 ms |" in page
    assert "| p99 | 50 ms |" in page
    assert "| longest | 200 ms |" in page
    assert "101 MiB, 256 KiB a stream" in page
