from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import db, metrics
from domain.claims import Claim
from domain.metrics import Curve, Stretch
from tests import lives
from tests.trainer_lines import BEGAN

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def claim() -> Claim:
    return lives.training()


def drawn(claim: Claim, values: Sequence[float], *, key: str = "reward") -> None:
    """Writes `values` at steps 1, 2 and so on, ten reward queries each."""
    with db.transaction() as session:
        for step, value in enumerate(values, start=1):
            place = {
                "job_id": claim.job_id,
                "step": step,
                "attempt": 1,
                "at": BEGAN,
                "reward_queries": 10 * step,
                "gpu_seconds": 0.5 * step,
                "wall_s": 2.0 * step,
            }
            metrics.put(session, place=place, values={key: value})


def curve(claim: Claim, key: str = "reward", *, stretch: Stretch = Stretch(), most: int) -> Curve:
    with db.read() as session:
        [found] = metrics.curves(
            session, job_id=claim.job_id, keys=[key], stretch=stretch, max_points=most
        )
    return found


def test_a_short_curve_stays_whole(claim: Claim) -> None:
    drawn(claim, [0.1, 0.2, 0.3])
    found = curve(claim, most=4)
    assert found.total == 3
    assert [(point.step, point.value) for point in found.points] == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_long_curve_keeps_its_ends_and_every_peak(claim: Claim) -> None:
    values = [math.sin(step / 9) for step in range(300)]
    values[123], values[200] = 40.0, -40.0
    drawn(claim, values)
    found = curve(claim, most=20)
    kept = {point.step: point.value for point in found.points}
    assert found.total == 300
    assert 10 < len(kept) <= 20
    assert {1, 124, 201, 300} <= set(kept)
    assert list(kept) == sorted(kept)
    assert all(values[step - 1] == value for step, value in kept.items())


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    most=st.integers(metrics.FEWEST_POINTS, 30),
)
def test_never_more_points_than_asked_for_and_never_without_the_extremes(
    values: list[float], most: int
) -> None:
    claim = lives.training()
    drawn(claim, values)
    kept = [point.value for point in curve(claim, most=most).points]
    assert len(kept) <= most
    assert (kept[0], kept[-1]) == (values[0], values[-1])
    assert (min(kept), max(kept)) == (min(values), max(values))
    lives.cancel(claim.job_id)


def test_what_is_no_number_hides_no_peak(claim: Claim) -> None:
    values = [float("nan") if step % 7 == 3 else float(step % 50) for step in range(200)]
    drawn(claim, values)
    kept = [point.value for point in curve(claim, most=10).points if not math.isnan(point.value)]
    assert max(kept) == max(value for value in values if not math.isnan(value))
    drawn(claim, [1.0, *[float("nan")] * 98, 2.0], key="gap")
    gap = curve(claim, "gap", most=8)
    assert any(math.isnan(point.value) for point in gap.points)


def test_a_stretch_is_cut_along_the_axis_asked_for(claim: Claim) -> None:
    drawn(claim, [float(step) for step in range(1, 101)])
    queries = curve(claim, stretch=Stretch("reward_queries", 200, 400), most=500)
    assert (queries.points[0].step, queries.points[-1].step, queries.total) == (20, 40, 21)
    tail = curve(claim, stretch=Stretch("wall_s", start=190.0), most=500)
    assert [point.step for point in tail.points] == list(range(95, 101))


def test_many_metrics_come_in_one_call_each_thinned_by_itself(claim: Claim) -> None:
    drawn(claim, [float(step) for step in range(100)], key="long")
    drawn(claim, [1.0, 2.0], key="short")
    with db.read() as session:
        found = metrics.curves(session, job_id=claim.job_id, max_points=6)
        none = metrics.curves(session, job_id=claim.job_id, keys=["no such metric"])
    assert [(one.key, one.total, len(one.points) < one.total) for one in found] == [
        ("long", 100, True),
        ("short", 2, False),
    ]
    assert none == []
