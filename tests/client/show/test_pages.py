"""What a person reads: plans, comparisons, budgets and quotas at 80 columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console

from client.models import Comparison, DryRun, Job, PromptSetCheck, Quota, Usage
from client.show.access import show_quotas, show_usage
from client.show.comparison import show_comparison
from client.show.jobs import show_job
from client.show.plans import show_plan
from client.show.prompts import show_check
from tests.client.shapes import JOB_ID, job_body, plan_body

OTHER_ID = JOB_ID[:-1] + "7"


def _shown(render: Callable[[Console, Any], None], answer: object) -> list[str]:
    screen = io.StringIO()
    render(Console(file=screen, width=80, force_terminal=True, color_system=None), answer)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_a_budget_shows_every_ceiling_and_marks_the_one_that_comes_first() -> None:
    budget = {
        "steps": {"limit": 400, "used": 108, "fraction": 0.27},
        "wall_clock_s": {"limit": 43200, "used": 11787, "fraction": 0.273},
        "cost": {"limit": "60.00", "used": "10.91", "currency": "USD", "fraction": 0.182},
        "next_ceiling": "max_wall_clock_s",
        "on_exhausted": "pause",
    }
    lines = _shown(show_job, Job.model_validate(job_body(budget=budget)))
    at = lines.index("budget      max_steps         108 of 400          27 %")
    assert lines[at + 1 : at + 4] == [
        "            max_wall_clock_s  3h 16m of 12h       27 %  ends it first",
        "            max_cost          10.91 of 60.00 USD  18 %",
        "            at a ceiling it pauses",
    ]


def test_a_paused_job_says_why_and_what_it_came_from() -> None:
    start = {"kind": "checkpoint", "id": "ck_1", "state": "full", "step": 40, "job_id": OTHER_ID}
    job = job_body(
        status="paused",
        phase="paused",
        pause={"reason": "reward_queries"},
        starts_from=start,
        parent_job_id=OTHER_ID,
        parent_kind="extend",
        allowed_actions=["cancel", "patch"],
    )
    lines = _shown(show_job, Job.model_validate(job))
    assert "pause       the ceiling of reward queries is reached" in lines
    assert f"parent      extend of {OTHER_ID}" in lines
    assert "starts from checkpoint ck_1, step 40, full state" in lines
    assert "possible    cancel, patch" in lines


def test_a_plan_without_measurements_says_that_it_knows_no_times() -> None:
    lines = _shown(show_plan, DryRun.model_validate(plan_body()))
    assert "estimate    times unknown: nothing to go by yet" in lines
    assert "GPU memory  at least 2.5 GiB" in lines
    assert not any("half below" in line for line in lines)


def test_a_measured_plan_shows_both_cases_with_their_basis() -> None:
    body = plan_body(
        warnings=[{"pointer": "/evaluation/num_prompts", "code": "few", "detail": "Too few."}]
    )
    estimate: Any = body["estimate"]
    times = {"basis": "measured", "p50": 41200, "p90": 49800}
    estimate |= {"basis": "measured", "similar_runs": 23, "gpu_seconds": times}
    estimate["hardware"] = [
        {"class": "H200x1", "workers": 2, "fits": True, "selected": True, "needs": None},
        {"class": "L40Sx1", "workers": 1, "fits": False, "needs": "gradient checkpointing"},
    ]
    lines = _shown(show_plan, DryRun.model_validate(body))
    assert "estimate    measured in 23 similar runs" in lines
    assert "            GPU time  11h 26m     13h 50m        measured" in lines
    assert "workers     H200x1 (2 workers) fits, expected to run it" in lines
    assert "            L40Sx1 (1 worker) does not fit: needs gradient checkpointing" in lines
    assert "warnings    /evaluation/num_prompts: Too few." in lines


def test_a_comparison_says_which_is_better_and_why_that_may_not_be_believed() -> None:
    cost = {"steps": 9, "reward_queries": 25600, "evaluation_queries": 1, "wall_clock_s": 60}
    body = {
        "jobs": [JOB_ID, OTHER_ID],
        "key": "heldout_reward",
        "x": "reward_queries",
        "comparable": False,
        "reasons": [{"code": "seeds", "detail": "The seeds differ."}],
        "caveats": [],
        "spec_diff": [{"pointer": "/seed", "values": [1, 2]}],
        "series": [],
        "at_equal_x": [
            {
                "x": 12800,
                "jobs": [JOB_ID, OTHER_ID],
                "values": [0.6, 0.7],
                "delta": 0.1,
                "delta_ci95": [0.05, 0.15],
                "verdict": "improved",
                "basis": "paired",
                "prompts": 8,
            }
        ],
        "cost": [{"job_id": one, "gpu_seconds": 41200, **cost} for one in (JOB_ID, OTHER_ID)],
        "guards": [
            {"reward": "diversity@1", "values": [0.97, None], "threshold": 0.9, "ok": [True, None]}
        ],
        "samples": [],
    }
    lines = _shown(show_comparison, Comparison.model_validate(body))
    assert lines[:4] == [
        f"a  {JOB_ID}",
        f"b  {OTHER_ID}",
        "NOT comparable:",
        "  The seeds differ.",
    ]
    assert "  b - a = +0.1000, 95 % interval [+0.0500, +0.1500], paired" in lines
    assert "  b is better than a" in lines
    assert "guard diversity@1  0.97 holds  -" in lines
    assert "/seed    1  2" in lines


def test_quotas_and_usage_are_told_in_units_for_people() -> None:
    quotas = [
        Quota(name="gpu_seconds_a_month", limit=7200, used=3600, left=3600),
        Quota(name="storage_bytes", limit=None, used=1536),
    ]
    lines = _shown(show_quotas, quotas)
    assert lines[1].split("  ")[0] == "gpu seconds a month"
    assert "no limit" in lines[2]
    assert "1.5 KiB" in lines[2]
    row = {"base_model": "tiny-unet@1", "gpu_seconds": 3661, "reward_queries": 1200, "cost": "1.02"}
    usage = {"from": "2026-11-01", "to": "2026-11-23", "group_by": ["base_model"]}
    document = {**usage, "currency": "USD", "data": [row], "total": {**row, "base_model": None}}
    lines = _shown(show_usage, Usage.model_validate(document))
    assert lines[2].split() == ["tiny-unet@1", "1h", "1m", "1,200", "1.02"]
    assert lines[3].split() == ["total", "1h", "1m", "1,200", "1.02"]


def test_warnings_about_prompts_say_where_unless_they_are_about_the_whole_set() -> None:
    warnings = [
        {"code": "few_heldout_prompts", "detail": "Only 2 are held out.", "count": 2},
        {
            "code": "duplicate_prompt",
            "detail": "Some stand twice.",
            "count": 4,
            "pointers": [f"/lines/{number}" for number in range(1, 5)],
        },
    ]
    report = {"prompts": 9, "training": 7, "heldout": 2, "warnings": warnings}
    check = {"name": "first", "report": report}
    lines = _shown(show_check, PromptSetCheck.model_validate(check))
    assert lines == [
        "found       9 prompts: 7 training, 2 held out",
        "warning     few_heldout_prompts: Only 2 are held out.",
        "warning     duplicate_prompt: Some stand twice.",
        "            at /lines/1, /lines/2, /lines/3, ...",
    ]
