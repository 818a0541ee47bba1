"""The seven ceilings of a job: how much of each is used and which comes first.

Counters only grow: an attempt that resumes from an older checkpoint spends again, and that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pydantic import JsonValue

from domain import pace
from domain.job_status import TERMINAL, Status
from domain.pace import Ceiling
from domain.settings import get_settings
from domain.tables import Attempt, Job
from vader_core.faults import Fault
from vader_core.spec import Budget

WARN_AT = 0.8
MOST_SECONDS = 10 * 365 * 24 * 3600.0
MOST_SPENDING = 1e12
# Reaching the asked steps is the plan, and who waits in the queue is told by its position.
_WITHOUT_WARNING = frozenset({"max_steps", "max_queue_s"})
CEILINGS = {
    "completed_steps": "max_steps",
    "reward_queries": "max_reward_queries",
    "gpu_seconds": "max_gpu_seconds",
    "wall_clock": "max_wall_clock_s",
    "deadline": "deadline_at",
    "cost": "max_cost",
}
"""The ceiling of every stop reason that is one."""


@dataclass(frozen=True)
class Usage:
    """Every ceiling by name, the one that will be reached first at the present pace, and in how many
    seconds of training each will be."""

    ceilings: dict[str, Ceiling]
    next_ceiling: str | None
    seconds_left: dict[str, float]
    cost: Decimal
    currency: str

    def reached(self) -> list[str]:
        """The ceilings at which training stops and of which nothing is left; not that of the steps."""
        return [
            name
            for name in CEILINGS.values()
            if name != "max_steps" and self.ceilings[name].left == 0
        ]

    def to_warn_of(self) -> list[Ceiling]:
        """The ceilings of which 80 % or more is used and of which a user should know."""
        return [
            ceiling
            for ceiling in self.ceilings.values()
            if (ceiling.fraction or 0) >= WARN_AT and ceiling.name not in _WITHOUT_WARNING
        ]


def usage(job: Job, attempt: Attempt | None, *, now: datetime) -> Usage:
    """What `job` has used at `now`; `attempt` is its current one, if it has one."""
    budget = Budget.model_validate(job.budget)
    settings = get_settings()
    cost = settings.gpu_second_price * Decimal(str(job.gpu_seconds))
    until = job.finished_at or now
    age_s = (until - job.created_at).total_seconds()
    deadline_s = (
        None
        if budget.deadline_at is None
        else max((budget.deadline_at - job.created_at).total_seconds(), 1e-3)
    )
    amount = None if budget.max_cost is None else float(budget.max_cost.amount)
    all_ceilings = [
        Ceiling("max_steps", budget.max_steps, job.step),
        Ceiling("max_reward_queries", budget.max_reward_queries, job.reward_queries),
        Ceiling("max_gpu_seconds", budget.max_gpu_seconds, job.gpu_seconds),
        Ceiling("max_wall_clock_s", budget.max_wall_clock_s, wall_clock_s(job, attempt, now=now)),
        Ceiling("deadline_at", deadline_s, age_s),
        Ceiling("max_queue_s", budget.max_queue_s, _queue_s(job, now=now)),
        Ceiling("max_cost", amount, float(cost)),
    ]
    ceilings = {ceiling.name: ceiling for ceiling in all_ceilings}
    left_s = pace.seconds_left(job, ceilings)
    return Usage(
        ceilings=ceilings,
        next_ceiling=_next(job, ceilings, left_s),
        seconds_left=left_s,
        cost=cost.quantize(Decimal("0.01")),
        currency=settings.currency,
    )


def wall_clock_s(job: Job, attempt: Attempt | None, *, now: datetime) -> float:
    """Seconds in which attempts held the job, the current one included; waiting is not counted."""
    if attempt is None or attempt.ended_at is not None:
        return job.wall_clock_s
    return job.wall_clock_s + max((now - attempt.started_at).total_seconds(), 0.0)


def _queue_s(job: Job, *, now: datetime) -> float:
    """How long the job waited for its first attempt; resuming one that never began begins it anew."""
    if job.started_at is None and job.status == Status.PAUSED:
        return 0.0
    until = job.started_at or job.finished_at or now
    # Of a job that was queued again after it had begun, `queued_at` tells of that later wait.
    began = job.queued_at if job.queued_at <= until else job.created_at
    return max((until - began).total_seconds(), 0.0)


def allows_more(job: Job, stop_reason: str, *, than: Budget) -> bool:
    """Whether the job's budget lets it go on where `than` stopped it for `stop_reason`."""
    if job.budget["on_exhausted"] != "pause":
        return True
    ceiling = CEILINGS[stop_reason]
    before = than.model_dump(mode="json")[ceiling]
    return raises(ceiling, before, job.budget[ceiling])


def raises(ceiling: str, before: JsonValue, after: JsonValue) -> bool:
    """Whether `after` gives more room under `ceiling` than `before`, both as they stand in a budget."""
    if before is None or after is None:
        return before is not None
    if isinstance(before, dict) and isinstance(after, dict):
        return Decimal(str(after["amount"])) > Decimal(str(before["amount"]))
    if ceiling == "deadline_at":
        return datetime.fromisoformat(str(after)) > datetime.fromisoformat(str(before))
    return float(str(after)) > float(str(before))


def cost_gpu_seconds(budget: Budget) -> float | None:
    """The GPU-seconds that `max_cost` buys; None where nothing is limited or nothing costs."""
    price = get_settings().gpu_second_price
    if budget.max_cost is None or price == 0:
        return None
    return float(budget.max_cost.amount / price)


def faults(budget: Budget, *, now: datetime) -> list[Fault]:
    """What is wrong with the budget at `now`, beyond its shape."""
    cost = None if budget.max_cost is None else float(budget.max_cost.amount)
    amounts = {
        "max_queue_s": (budget.max_queue_s, MOST_SECONDS),
        "max_wall_clock_s": (budget.max_wall_clock_s, MOST_SECONDS),
        "max_gpu_seconds": (budget.max_gpu_seconds, MOST_SPENDING),
        "max_cost/amount": (cost, MOST_SPENDING),
    }
    found = [
        _out_of_range(name, f"At most {most:g} is possible; got {value:g}.", most)
        for name, (value, most) in amounts.items()
        if value is not None and value > most
    ]
    return [*found, *_deadline_faults(budget, now), *_currency_faults(budget)]


def _deadline_faults(budget: Budget, now: datetime) -> list[Fault]:
    if budget.deadline_at is None:
        return []
    seconds = (budget.deadline_at - now).total_seconds()
    if seconds > MOST_SECONDS:
        return [_out_of_range("deadline_at", "Give a time within the next ten years.")]
    if seconds > 0:
        return []
    detail = f"It is {now.isoformat(timespec='seconds')} now: give a time that is to come."
    return [Fault(pointer="/budget/deadline_at", code="in_the_past", detail=detail)]


def _currency_faults(budget: Budget) -> list[Fault]:
    currency = get_settings().currency
    if budget.max_cost is None or budget.max_cost.currency == currency:
        return []
    pointer = "/budget/max_cost/currency"
    detail = f"This service counts in {currency}; got {budget.max_cost.currency}."
    return [Fault(pointer=pointer, code="not_in_set", detail=detail, nearest=[currency])]


def _out_of_range(name: str, detail: str, *nearest: float) -> Fault:
    pointer = f"/budget/{name}"
    return Fault(pointer=pointer, code="out_of_range", detail=detail, nearest=list(nearest))


def _next(job: Job, ceilings: dict[str, Ceiling], left_s: dict[str, float]) -> str | None:
    if job.status in TERMINAL:
        return None
    waits = job.status == Status.QUEUED and job.started_at is None
    return pace.first(
        {} if waits else left_s,
        [
            c
            for c in ceilings.values()
            if c.limit is not None and (waits or c.name != "max_queue_s")
        ],
    )
