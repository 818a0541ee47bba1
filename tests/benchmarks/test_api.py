"""benchmarks/api.py on a small database: every read is answered as it must be, and the page has all figures."""

from __future__ import annotations

import pytest

from benchmarks import api


@pytest.mark.timeout(300)
def test_every_read_is_measured_beside_the_bare_one() -> None:
    pairs = api.measure(300, seconds=0.5, rounds=1)
    assert [pair.read for pair in pairs] == list(api.READS)
    for pair in pairs:
        for side in (pair.api, pair.bare):
            assert side.count > 0
            assert side.p50_s <= side.p95_s <= side.p99_s
    page = api.report(pairs, seconds=0.5, rounds=1)
    assert all(f"| 300 | {read} |" in page for read in api.READS)
