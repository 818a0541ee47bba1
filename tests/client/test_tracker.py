from __future__ import annotations

from client.models import Event, Job
from client.progress import figures
from client.tracker import Tracker
from tests.client.shapes import event_body, job_body


def _tracker(**budget: object) -> Tracker:
    return Tracker(Job.model_validate(job_body(budget=budget)))


def _take(tracker: Tracker, *events: dict[str, object]) -> None:
    for event in events:
        tracker.take(Event.model_validate(event))


def _step(step: int, *, at: str, reward: float = 0.5, queries: int = 8) -> dict[str, object]:
    data = {"reward": reward, "reward_queries": queries, "gpu_seconds": 2.0 * step}
    return event_body(step + 10, "metric", at=at, step=step, data=data)


def test_steps_give_reward_pace_and_what_is_left_of_the_budget() -> None:
    tracker = _tracker(
        steps={"limit": 10, "used": 0},
        reward_queries={"limit": 80, "used": 0},
        gpu_seconds={"limit": 100.0, "used": 0},
    )
    _take(
        tracker,
        event_body(1, "started", at="2026-11-23T10:00:00Z"),
        _step(1, at="2026-11-23T10:00:10Z"),
        _step(2, at="2026-11-23T10:00:13Z", reward=0.6, queries=16),
        _step(3, at="2026-11-23T10:00:16Z", reward=0.7, queries=24),
    )
    assert (tracker.step, tracker.steps_total, tracker.reward) == (3, 10, 0.7)
    assert tracker.queries_left == 56
    assert tracker.seconds_left == 94.0
    assert tracker.eta_s == 21.0


def test_the_nearest_ceiling_in_time_counts() -> None:
    tracker = _tracker(
        gpu_seconds={"limit": 500.0},
        wall_clock_s={"limit": 60.0},
        deadline_at="2026-11-23T10:00:50Z",
    )
    _take(tracker, event_body(1, "started", at="2026-11-23T10:00:00Z"))
    assert tracker.seconds_left == 50.0
    _take(tracker, event_body(2, "warning", at="2026-11-23T10:02:00Z"))
    assert tracker.seconds_left == 0.0


def test_a_restarted_attempt_starts_a_new_pace() -> None:
    tracker = _tracker(steps={"limit": 10})
    _take(
        tracker,
        event_body(1, "started", at="2026-11-23T10:00:00Z"),
        _step(4, at="2026-11-23T10:00:10Z"),
        event_body(2, "attempt_restarted", at="2026-11-23T10:05:00Z"),
        _step(3, at="2026-11-23T10:05:10Z"),
    )
    assert tracker.eta_s is None
    _take(tracker, _step(4, at="2026-11-23T10:05:11Z"))
    assert tracker.eta_s == 6.0


def test_an_evaluation_sets_the_held_out_rewards() -> None:
    tracker = _tracker()
    data = {"heldout_reward": 0.61, "baseline_heldout_reward": 0.4}
    _take(tracker, event_body(1, "evaluation_done", data=data))
    assert "held-out 0.610 (base 0.400)" in figures(tracker)


def test_nothing_known_yet_shows_no_invented_figure() -> None:
    assert figures(_tracker()) == "reward -  held-out -"
