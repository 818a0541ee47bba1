from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from domain import db, estimates
from domain.estimates import Asked, Estimate
from domain.hardware_classes import HardwareClass
from domain.job_status import Status
from domain.memory_estimates import Memory
from domain.tables import Job
from tests import factories, lives, trainer_lines
from tests.past_runs import alive, ran
from vader_core.catalogue import BUILT_IN
from vader_core.spec import Prompt

pytestmark = pytest.mark.usefixtures("settings")

PROMPTS = [Prompt.model_validate(prompt) for prompt in factories.PROMPTS]


def estimated(**changes: Any) -> Estimate:
    asked = Asked(factories.spec(**changes), PROMPTS)
    with db.read() as session:
        return estimates.estimate(session, asked, BUILT_IN, now=db.utc_now())


def test_without_like_jobs_nothing_is_made_up() -> None:
    found = estimated()
    assert (found.gpu_seconds.basis, found.gpu_seconds.p50) == ("unknown", None)
    assert (found.wall_clock_s.basis, found.queue_wait_s.basis) == ("unknown", "unknown")
    assert (found.memory.basis, found.memory.peak) == ("unknown", None)
    assert found.storage_gib == ("unknown", None)
    # What the counts say needs no runs.
    assert (found.plan.training_queries, found.first_ceiling.p50) == (160, "max_steps")


def test_two_runs_are_too_few() -> None:
    for _ in range(2):
        ran()
    assert estimated().gpu_seconds.basis == "unknown"


def test_like_runs_are_scaled_to_the_steps_and_the_videos_that_are_asked_for() -> None:
    for step_s in (1.0, 2.0, 4.0):
        ran(step_s=step_s)
    # 3 s besides, two evaluations of 4 videos of a quarter of a second, and the steps.
    same = estimated()
    assert (same.gpu_seconds.basis, len(same.runs)) == ("measured", 3)
    assert same.gpu_seconds.p50 == pytest.approx(3 + 2 + 20 * 2.0)
    assert same.gpu_seconds.p90 == pytest.approx(3 + 2 + 20 * (2.0 + 0.8 * 2.0))
    more = estimated(
        budget={"max_steps": 30},
        method={"gradient_accumulation": 16},
        evaluation={"every_steps": 10, "seeds": [1, 2, 3, 4]},
    )
    # Twice the videos a step; base, two periodic and the final evaluation of 8 videos each.
    assert more.gpu_seconds.p50 == pytest.approx(3 + 4 * 8 * 0.25 + 30 * 4.0)
    steps = factories.spec().video.inference_steps or 0
    longer = estimated(video={"inference_steps": 2 * steps})
    assert longer.gpu_seconds.p50 == pytest.approx(3 + 2 * 2 + 20 * 2 * 2.0)


def test_other_base_models_methods_and_much_larger_videos_tell_nothing() -> None:
    for _ in range(3):
        ran(base_model="tiny-wan")
    size = factories.spec(base_model="tiny-wan").video
    assert estimated(base_model="tiny-wan").gpu_seconds.basis == "measured"
    assert estimated().gpu_seconds.basis == "unknown"
    method = {"type": "grpo"}
    assert estimated(base_model="tiny-wan", method=method).gpu_seconds.basis == "unknown"
    assert (size.num_frames or 0) * 2 < 25
    assert estimated(base_model="tiny-wan", video={"num_frames": 25}).gpu_seconds.basis == "unknown"


def test_runs_with_the_same_rewards_are_preferred() -> None:
    for _ in range(3):
        ran(step_s=10.0, rewards=[{"reward": "jpeg-size"}], method={"type": "grpo"})
        ran(step_s=1.0, rewards=[{"reward": "tiny-action"}], method={"type": "grpo"})
    found = estimated(method={"type": "grpo"})
    assert (len(found.runs), found.gpu_seconds.p50) == (3, pytest.approx(3 + 2 + 20 * 1.0))


def test_runs_on_other_hardware_than_there_is_now_tell_nothing() -> None:
    for _ in range(3):
        ran(hardware="CPU, 2 cores, 16 GiB")
    alive("CPU, 64 cores, 512 GiB")
    assert estimated().gpu_seconds.basis == "unknown"
    alive("CPU, 2 cores, 16 GiB", name="worker-2")
    assert estimated().gpu_seconds.basis == "measured"


def test_what_attempts_held_beyond_the_trainer_counts_as_wall_clock() -> None:
    jobs = [ran() for _ in range(3)]
    with db.transaction() as session:
        for job in jobs:
            session.get_one(Job, job.id).wall_clock_s = 45.0 + 7.0
    found = estimated()
    assert found.wall_clock_s.p50 == pytest.approx(45.0 + 7.0)
    assert found.gpu_seconds.p50 == pytest.approx(45.0)


def test_money_is_seconds_times_the_price(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        ran()
    free = estimated().cost
    assert (free.basis, free.p50) == ("analytic", Decimal("0.00"))
    with lives.changed_settings(monkeypatch, gpu_second_price="0.01"):
        cost = estimated().cost
        assert (cost.basis, cost.p50, cost.p90) == ("measured", Decimal("0.45"), Decimal("0.45"))
        unknown = estimated(base_model="tiny-wan").cost
        assert (unknown.basis, unknown.p50) == ("unknown", None)


FIRST: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    ({}, ("analytic", "max_steps", "max_steps")),
    ({"max_gpu_seconds": 1000}, ("measured", "max_steps", "max_steps")),
    ({"max_gpu_seconds": 60}, ("measured", "max_steps", "max_gpu_seconds")),
    ({"max_gpu_seconds": 30}, ("measured", "max_gpu_seconds", "max_gpu_seconds")),
    (
        {"max_gpu_seconds": 30, "max_cost": {"amount": "0.20"}},
        ("measured", "max_cost", "max_cost"),
    ),
]


def test_the_ceiling_that_ends_the_job_is_known_from_the_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for step_s in (1.0, 2.0, 4.0):
        ran(step_s=step_s)
    with lives.changed_settings(monkeypatch, gpu_second_price="0.01"):
        for budget, expected in FIRST:
            found = estimated(budget={"max_steps": 20, **budget}).first_ceiling
            assert (found.basis, found.p50, found.p90) == expected, budget


def test_without_times_a_ceiling_of_time_makes_the_end_unknown() -> None:
    found = estimated(budget={"max_steps": 20, "max_gpu_seconds": 30}).first_ceiling
    assert (found.basis, found.p50, found.p90) == ("unknown", None, None)


def test_a_deadline_counts_the_wait_in_the_queue() -> None:
    jobs = [ran() for _ in range(3)]
    with db.transaction() as session:
        for job in jobs:
            session.get_one(Job, job.id).wall_clock_s = 100.0
    alive()
    running = lives.training()
    lives.waiting()
    deadline = db.utc_now() + timedelta(seconds=200)
    found = estimated(budget={"max_steps": 20, "deadline_at": deadline.isoformat()})
    # One job is before it and the only worker is half-way: one and a half jobs of 100 s.
    assert (found.queue_wait_s.basis, found.queue_wait_s.p50) == ("measured", 150.0)
    assert found.first_ceiling.p50 == "deadline_at"
    lives.ended(running, Status.FAILED, error=lives.BROKEN)


def test_a_free_worker_is_known_at_once() -> None:
    alive()
    wait = estimated().queue_wait_s
    assert (wait.basis, wait.p50, wait.p90) == ("analytic", 0.0, 0.0)


def test_stored_bytes_are_those_of_like_jobs() -> None:
    for _ in range(3):
        lives.succeeded()
    basis, gib = estimated().storage_gib
    assert basis == "measured"
    assert gib is not None
    assert gib * 2**30 == pytest.approx(stored_by_hand(), rel=1e-6)


def stored_by_hand() -> float:
    """An adapter, one checkpoint (20 steps, every 50), and the kept videos of 4 pairs."""
    adapter = sum(file.size_bytes for file in trainer_lines.done().files)
    checkpoint = sum(file.size_bytes for file in trainer_lines.checkpoint(10).files)
    return adapter + checkpoint + 2 * 4 * trainer_lines.sample().file.size_bytes


def test_other_projects_jobs_give_numbers_only(settings: object) -> None:
    """Each of `ran`'s jobs is of a project of its own; the one that asks sees none of them."""
    for _ in range(3):
        ran()
    with db.transaction() as session:
        own: UUID = factories.project(session).id
    token = db.tenant.set(own)
    try:
        found = estimated()
    finally:
        db.tenant.reset(token)
    assert found.gpu_seconds.basis == "measured"


@pytest.mark.parametrize(
    ("peak", "at_least", "gpu_gib", "expected"),
    [
        (60.0, 20.0, 80.0, True),
        (90.0, 20.0, 80.0, False),
        (None, 20.0, 80.0, None),
        (None, 90.0, 80.0, False),
        (None, None, 80.0, None),
        (60.0, 20.0, None, None),
    ],
)
def test_a_job_fits_where_its_peak_does(
    peak: float | None, at_least: float | None, gpu_gib: float | None, expected: bool | None
) -> None:
    memory = Memory("analytic", peak, None, at_least, "")
    assert estimates.fits(memory, HardwareClass("gpu", gpu_gib, 1)) is expected


@pytest.mark.parametrize(
    ("at_least", "gpus", "expected"),
    [
        (90.0, [80.0], True),
        (90.0, [80.0, 141.0], False),
        (90.0, [80.0, None], False),
        (90.0, [], False),
        (None, [80.0], False),
    ],
)
def test_only_what_is_certain_keeps_a_job_out(
    at_least: float | None, gpus: list[float | None], expected: bool
) -> None:
    hardware = [HardwareClass("gpu", gib, 1) for gib in gpus]
    memory = Memory("analytic", 200.0, None, at_least, "")
    assert estimates.fits_nowhere(memory, hardware) is expected
