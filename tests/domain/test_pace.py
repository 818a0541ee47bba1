from __future__ import annotations

import pytest

from domain import pace
from domain.pace import Ceiling
from domain.tables import Job


def ceilings(**limits: tuple[float | None, float]) -> dict[str, Ceiling]:
    """All seven, those in `limits` as (limit, used)."""
    names = (
        *("max_steps", "max_reward_queries", "max_gpu_seconds", "max_wall_clock_s"),
        *("deadline_at", "max_queue_s", "max_cost"),
    )
    return {name: Ceiling(name, *limits.get(name, (None, 0.0))) for name in names}


def training(step: int = 10, *, step_s: float = 2.0) -> Job:
    """A job after `step` steps of 8 queries and `step_s` seconds each."""
    return Job(
        step=step, reward_queries=8 * step, gpu_seconds=100.0, latest_metrics={"seconds": step_s}
    )


def test_seconds_are_counted_at_the_pace_of_the_newest_step() -> None:
    found = pace.seconds_left(
        training(),
        ceilings(
            max_steps=(30, 10),
            max_reward_queries=(120, 80),
            max_gpu_seconds=(160, 100),
            max_wall_clock_s=(500, 150),
            max_cost=(1.0, 0.5),
        ),
    )
    assert found == {
        "max_steps": pytest.approx(40),
        "max_reward_queries": pytest.approx(10),
        "max_gpu_seconds": 60,
        "max_wall_clock_s": 350,
        "max_cost": pytest.approx(100),
    }
    assert pace.first(found, []) == "max_reward_queries"
    assert pace.steps_at_stop(training(), found["max_reward_queries"]) == 15


def test_a_ceiling_of_which_little_is_used_may_still_come_first() -> None:
    """A deadline runs from the creation on: by its used part alone it would look far away."""
    found = pace.seconds_left(
        training(), ceilings(max_steps=(30, 10), deadline_at=(10_000.0, 9_990.0))
    )
    assert pace.first(found, []) == "deadline_at"


def test_before_the_first_step_what_is_used_furthest_counts() -> None:
    known = ceilings(max_steps=(30, 0), max_wall_clock_s=(100, 5))
    job = Job(step=0, latest_metrics=None)
    assert pace.seconds_left(job, known) == {}
    assert pace.first({}, known.values()) == "max_wall_clock_s"


def test_more_than_all_is_no_time_left() -> None:
    found = pace.seconds_left(training(), ceilings(max_wall_clock_s=(100, 150)))
    assert found == {"max_wall_clock_s": 0}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.6, "5s"), (61, "1m"), (8640, "2h24m"), (3600, "1h00m"), (3 * 86400 + 4 * 3600, "3d4h")],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert pace.in_words(seconds) == words
