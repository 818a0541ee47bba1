from __future__ import annotations

from typing import Any

import pytest
from scipy import special

from domain import db, estimates, job_warnings
from domain.estimates import Asked
from domain.job_warnings import student
from domain.similar_runs import FEWEST_RUNS
from tests import factories, lives
from tests.past_runs import alive, ran
from vader_core.catalogue import BUILT_IN
from vader_core.spec import Prompt

HELD_OUT = [
    {"prompt": f"a {colour} square moving left", "target": "moving left", "heldout": True}
    for colour in ("red", "blue", "green", "yellow")
]
PROMPTS = [*factories.PROMPTS[:2], *HELD_OUT]
SOUND: dict[str, Any] = {
    "prompts": {"inline": PROMPTS},
    "budget": {"max_steps": 20, "max_wall_clock_s": 10_000},
}

# Like jobs took 0.93 GiB there.
TOO_SMALL = "1 x Toy (0 GiB)"

with_database = pytest.mark.usefixtures("settings")


def warned(**changes: Any) -> dict[str, str]:
    """What is warned of: details by code and pointer."""
    spec = factories.spec(**{**SOUND, **changes})
    prompts = spec.prompts.inline or []
    asked = Asked(spec, [Prompt.model_validate(prompt) for prompt in prompts])
    with db.read() as session:
        found = estimates.estimate(session, asked, BUILT_IN, now=db.utc_now())
    told = job_warnings.warnings(asked, found)
    return {f"{warning.code} {warning.pointer}": warning.detail for warning in told}


@with_database
def test_a_sound_job_is_not_warned_of() -> None:
    alive()
    assert warned() == {}


@with_database
def test_nobody_to_train_is_told() -> None:
    assert list(warned()) == ["no_workers "]


@with_database
def test_a_job_is_warned_of_where_its_estimate_fits_no_gpu() -> None:
    for _ in range(FEWEST_RUNS):
        ran(hardware=TOO_SMALL)
    alive(TOO_SMALL)
    detail = warned()["may_not_fit /video"]
    assert (
        detail
        == "It takes about 0.9 GiB, more than the 0 GiB of the largest GPU that a worker has."
    )
    alive("1 x NVIDIA L4 (24 GiB)", name="worker-2")
    assert "may_not_fit /video" not in warned()


@with_database
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"prompts": {"inline": PROMPTS[:4]}},
            "few_eval_prompts /evaluation/num_prompts",
        ),
        ({"evaluation": {"num_prompts": 2}}, "few_eval_prompts /evaluation/num_prompts"),
        ({"budget": {"max_steps": 20}}, "no_ceiling_of_time /budget"),
        (
            {"evaluation": {"every_steps": 30}},
            "no_periodic_evaluation /evaluation/every_steps",
        ),
        (
            {"budget": {**SOUND["budget"], "max_reward_queries": 80}},
            "may_hit_ceiling /budget/max_reward_queries",
        ),
        (
            {"budget": {**SOUND["budget"], "max_cost": {"amount": "3"}}},
            "cost_not_priced /budget/max_cost",
        ),
    ],
)
def test_each_weakness_is_told_by_itself(changes: dict[str, Any], expected: str) -> None:
    alive()
    assert list(warned(**changes)) == [expected]


@with_database
def test_an_early_stop_that_the_queries_do_not_pay_for_never_fires() -> None:
    alive()
    told = warned(
        budget={**SOUND["budget"], "max_reward_queries": 80},
        early_stop={"patience_evals": 4},
        evaluation={"every_steps": 5},
    )
    detail = told["early_stop_never /early_stop/patience_evals"]
    assert "20 steps to fire" in detail
    assert "pays for 10" in detail


@with_database
def test_ceilings_of_time_are_warned_of_by_how_often_they_end_such_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive()
    for step_s in (1.0, 2.0, 4.0):
        ran(step_s=step_s)
    slow = warned(budget={"max_steps": 20, "max_gpu_seconds": 60})
    key = "may_hit_ceiling /budget/max_gpu_seconds"
    assert slow[key] == "1 run in 10 would stop at max_gpu_seconds before step 20."
    most = warned(budget={"max_steps": 20, "max_gpu_seconds": 30})
    assert most[key].startswith("Half of such runs or more")
    assert warned(budget={"max_steps": 20, "max_gpu_seconds": 1000}) == {}
    with lives.changed_settings(monkeypatch, gpu_second_price="0.01"):
        cost = warned(budget={"max_steps": 20, "max_cost": {"amount": "0.60"}})
    assert list(cost) == ["may_hit_ceiling /budget/max_cost"]


@with_database
def test_checkpoints_hours_apart_are_warned_of() -> None:
    alive()
    for _ in range(3):
        ran(step_s=1000.0)
    assert "rare_checkpoints /checkpoints/every_steps" in warned()
    often = warned(checkpoints={"every_steps": 2})
    assert "rare_checkpoints /checkpoints/every_steps" not in often


@with_database
def test_the_interval_to_expect_comes_from_like_jobs_with_the_same_rewards() -> None:
    """Each run's interval is +-0.05 over 4 pairs of 1 seed: 4 prompts, as many as here."""
    alive()
    for _ in range(3):
        ran(evaluation={"seeds": [1]})
    narrow = warned(evaluation={"seeds": [1], "wanted_half_width": 0.025})
    detail = narrow["few_eval_prompts /evaluation/num_prompts"]
    assert detail == (
        "4 prompts x 1 seed give an interval of about +-0.05; +-0.025 takes about 16 prompts."
    )
    assert warned(evaluation={"seeds": [1], "wanted_half_width": 0.06}) == {}
    # What other rewards' spread was says nothing.
    others = warned(
        rewards=[{"reward": "tiny-action", "weight": 2}],
        evaluation={"seeds": [1], "wanted_half_width": 0.025},
    )
    assert others == {}


@pytest.mark.parametrize(
    ("freedom", "within"), [(2, 0.04), (3, 0.01), (6, 0.001), (30, 0.001), (1000, 0.001)]
)
def test_students_quantile_is_as_near_as_it_says(freedom: int, within: float) -> None:
    exact = float(special.stdtrit(freedom, 0.975))
    assert student(freedom) == pytest.approx(exact, rel=within)
