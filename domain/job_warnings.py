"""What a team should know of a job before it is made, though nothing forbids it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from domain.estimates import Asked, Estimate, fits
from domain.settings import get_settings
from domain.similar_runs import FEWEST_RUNS, Run
from vader_core.faults import Fault
from vader_core.plan import FEWEST_PROMPTS, Plan
from vader_core.spec import Budget

_FEW_PROMPTS, _FEW_PAIRS = "/evaluation/num_prompts", "/evaluation/wanted_half_width"
# A job that a lost worker throws back to its start should not have run for longer.
_LONG_S = 3600.0


def warnings(asked: Asked, found: Estimate) -> list[Fault]:
    """One entry for each, with a pointer into the resolved spec."""
    return [
        *_evaluation(asked, found),
        *_ceilings(asked.spec.budget, found),
        *_early_stop(asked, found.plan),
        *_checkpoints(asked, found),
        *_workers(found),
    ]


def expected_half_width(runs: Sequence[Run], *, prompts: int) -> float | None:
    """Half the 95 % interval over `prompts` held-out prompts, by the spread in like jobs with the very same
    rewards; None where there are too few."""
    deviations = [
        run.spread.half_width * math.sqrt(run.spread.prompts) / student(run.spread.prompts - 1)
        for run in runs
        if run.spread is not None and run.spread.prompts >= FEWEST_PROMPTS
    ]
    if len(deviations) < FEWEST_RUNS or prompts < FEWEST_PROMPTS:
        return None
    return student(prompts - 1) * statistics.median(deviations) / math.sqrt(prompts)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution, `freedom` at least 2: within 4 % there, 0.1 % from 6 on.

    The expansion in 1 / freedom of Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5.
    """
    z, v = statistics.NormalDist().inv_cdf(0.975), freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def _evaluation(asked: Asked, found: Estimate) -> Iterator[Fault]:
    planned, wanted = found.plan, asked.spec.evaluation.wanted_half_width
    prompts = planned.heldout_prompts
    if prompts < FEWEST_PROMPTS:
        yield _warning(
            _FEW_PROMPTS,
            "few_eval_prompts",
            f"{prompts} held-out prompts are compared; with fewer than {FEWEST_PROMPTS} the verdict is "
            "no_clear_difference whatever the adapter does.",
        )
        return
    expected = expected_half_width(found.runs, prompts=prompts)
    if wanted is None or expected is None or expected <= wanted:
        return
    seeds = len(asked.spec.evaluation.seeds)
    needed = math.ceil(prompts * (expected / wanted) ** 2)
    yield _warning(
        _FEW_PROMPTS,
        "few_eval_prompts",
        f"{prompts} prompts x {seeds} seed{'' if seeds == 1 else 's'} give an interval of about "
        f"+-{expected:.2g}; +-{wanted:g} takes about {needed} prompts.",
    )


def _ceilings(budget: Budget, found: Estimate) -> Iterator[Fault]:
    first, planned = found.first_ceiling, found.plan
    if planned.ends_by == "max_reward_queries":
        yield _warning(
            "/budget/max_reward_queries",
            "may_hit_ceiling",
            f"The queries pay for {planned.steps} steps; max_steps is {budget.max_steps}.",
        )
    if first.p90 is not None and first.p90 != planned.ends_by:
        often = "Half of such runs or more" if first.p50 == first.p90 else "1 run in 10"
        yield _warning(
            f"/budget/{first.p90}",
            "may_hit_ceiling",
            f"{often} would stop at {first.p90} before step {planned.steps}.",
        )
    priced = budget.max_cost is not None and get_settings().gpu_second_price > 0
    seconds = (budget.max_gpu_seconds, budget.max_wall_clock_s, budget.deadline_at)
    if not priced and not any(seconds):
        yield _warning(
            "/budget",
            "no_ceiling_of_time",
            "Nothing bounds how long the job takes: give max_gpu_seconds, max_wall_clock_s or deadline_at.",
        )
    if budget.max_cost is not None and not priced:
        yield _warning(
            "/budget/max_cost",
            "cost_not_priced",
            "This service puts no price on GPU-seconds, so this ceiling is never reached.",
        )


def _early_stop(asked: Asked, planned: Plan) -> Iterator[Fault]:
    rule, every = asked.spec.early_stop, asked.spec.evaluation.every_steps
    if every is None:
        return
    if rule is not None and rule.patience_evals * every > planned.steps:
        yield _warning(
            "/early_stop/patience_evals",
            "early_stop_never",
            f"It takes {rule.patience_evals * every} steps to fire, and the budget pays for {planned.steps}.",
        )
    elif every >= planned.steps:
        yield _warning(
            "/evaluation/every_steps",
            "no_periodic_evaluation",
            f"There is no evaluation during the {planned.steps} steps; only before and after.",
        )


def _checkpoints(asked: Asked, found: Estimate) -> Iterator[Fault]:
    every, seconds = asked.spec.checkpoints.every_steps, found.gpu_seconds.p50
    if seconds is None or not found.plan.steps:
        return
    between = seconds / found.plan.steps * min(every, found.plan.steps)
    if between > _LONG_S:
        yield _warning(
            "/checkpoints/every_steps",
            "rare_checkpoints",
            f"A lost worker costs up to {between / 3600:.1f} hours: that long lies between checkpoints.",
        )


def _workers(found: Estimate) -> Iterator[Fault]:
    memory = found.memory
    if not found.hardware:
        yield _warning("", "no_workers", "No worker that trains is there now: the job will wait.")
    if found.hardware and all(fits(memory, kind) is False for kind in found.hardware):
        need = memory.peak if memory.peak is not None else memory.at_least
        largest = max(kind.memory_gib or 0.0 for kind in found.hardware)
        yield _warning(
            "/video",
            "may_not_fit",
            f"It takes about {need:.1f} GiB, more than the {largest:.0f} GiB of the largest GPU that a worker has.",
        )


def _warning(pointer: str, code: str, detail: str) -> Fault:
    return Fault(pointer=pointer, code=code, detail=detail)
