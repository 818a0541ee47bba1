"""Whether a job that is asked for is what its maker expects, and can run at all; else nothing is made."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pydantic import JsonValue
from sqlalchemy.orm import Session

from api.job_request import AskedJob
from domain import capacity, db, estimates, hardware_classes, workers
from domain.capacity import Need
from domain.errors import DoesNotFitGpu, EstimateExceedsLimit, SpecHashMismatch
from domain.estimates import Estimate
from domain.hardware_classes import HardwareClass
from domain.memory_estimates import Memory
from vader_core.catalogue import Catalogue
from vader_core.spec import spec_hash


def meet(session: Session, asked: AskedJob, catalogue: Catalogue) -> Need:
    """What the job needs of a GPU. Raises `SpecHashMismatch`, `DoesNotFitGpu` or `EstimateExceedsLimit`."""
    _same_spec(asked)
    if asked.expect.max_estimated_cost is not None:
        found = estimates.estimate(session, asked.resolved, catalogue, now=db.utc_now())
        meet_estimate(asked, found)
        return capacity.estimated(found.memory)
    memory = estimates.memory_of(session, asked.spec, catalogue)
    _fits(memory, hardware_classes.classes(workers.living(session)))
    return capacity.estimated(memory)


def meet_estimate(asked: AskedJob, found: Estimate) -> None:
    """As `meet`, where the estimate is known already: it says what the job needs."""
    _same_spec(asked)
    _fits(found.memory, found.hardware)
    limit = asked.expect.max_estimated_cost
    if limit is not None and (found.cost.p50 is None or found.cost.p50 > limit.amount):
        _refuse_cost(found.cost.p50, limit.amount, limit.currency)


def _same_spec(asked: AskedJob) -> None:
    expected, actual = asked.expect.spec_hash, spec_hash(asked.spec)
    if expected is None or expected == actual:
        return
    raise SpecHashMismatch(
        "The spec, a template, an alias, or a default has changed since; nothing was created. A new dry "
        "run shows the spec as it is now.",
        expected_spec_hash=expected,
        actual_spec_hash=actual,
    )


def _refuse_cost(median: Decimal | None, limit: Decimal, currency: str) -> None:
    if median is None:
        detail = (
            "What the job costs cannot be estimated yet: there are too few jobs like it. Leave out "
            "`expect.max_estimated_cost` and bound the job by `budget.max_cost` or another ceiling."
        )
    else:
        detail = (
            f"The median estimate is {median} {currency}, above the {limit} expected at the most; "
            "nothing was created."
        )
    shown: JsonValue = None if median is None else {"amount": str(median), "currency": currency}
    raise EstimateExceedsLimit(detail, estimated_cost=shown)


def _fits(memory: Memory, hardware: Sequence[HardwareClass]) -> None:
    if not estimates.fits_nowhere(memory, hardware):
        return
    largest = max(kind.memory_gib or 0.0 for kind in hardware)
    raise DoesNotFitGpu(
        f"The job takes at least {memory.at_least:.1f} GiB on one GPU; the largest that a worker has is "
        f"{largest:.0f} GiB. Smaller videos, a smaller batch or a smaller base model take less.",
        needs_gib=round(memory.at_least or 0.0, 2),
        breakdown={name: round(gib, 2) for name, gib in (memory.breakdown or {}).items()},
        hardware=[{"class": kind.name, "memory_gib": kind.memory_gib} for kind in hardware],
    )
