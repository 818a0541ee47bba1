"""The types of events: the sets are open for clients, and known here for those who subscribe to some."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from vader_core.faults import Fault, not_in_set

EVENT_TYPES = (
    *("job.created", "job.queued", "job.started", "job.phase_changed", "job.metric"),
    *("job.checkpoint_saved", "job.sample_ready", "job.evaluation_done", "job.guard_warning"),
    *("job.budget_warning", "job.budget_exhausted", "job.budget_changed", "job.warning"),
    *("job.attempt_failed", "job.attempt_restarted", "job.pausing", "job.paused", "job.resumed"),
    *("job.cancel_requested", "job.adapter_ready", "job.succeeded", "job.failed", "job.cancelled"),
    *("job.changed", "job.deleted"),
)
GENERATION_TYPES = ("generation.succeeded", "generation.failed", "generation.cancelled")
"""What webhooks tell of generations, which have no history of their own."""
WEBHOOK_TYPES = (*EVENT_TYPES, *GENERATION_TYPES)
QUIET_TYPES = frozenset({"job.metric"})
"""What comes so often that webhooks carry it only where it was asked for by name."""
TEST_TYPE = "webhook.test"
"""Not of a job: what `POST /v1/webhook-endpoints/{id}/test` sends."""


def faults(types: Sequence[str], *, pointer: str, known: Sequence[str]) -> list[Fault]:
    """One fault for every type that is not among the `known`; `pointer` leads to the list."""
    return [
        not_in_set(
            f"{pointer}/{index}",
            f"There is no event type {name[:100]!r}.",
            *difflib.get_close_matches(name, known, n=2),
        )
        for index, name in enumerate(types)
        if name not in known
    ]
