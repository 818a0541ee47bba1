"""What of a spec a training depends on, as hashes: what may change when a run goes on, and what may not.

Neither covers names, labels, priority, the cadence of checkpoints or the budget: a paused run goes on with
another budget and gives the very adapter of a run left alone. With a learning rate that falls towards the
last step, the steps count, for the schedule reaches over those of the spec.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vader_core.spec import JobSpec

_WITHOUT_INFLUENCE = {"name", "labels", "priority", "budget", "checkpoints", "init_from"}
_LEARNING = {"learning_rate", "lr_schedule", "warmup_steps", "weight_decay"}
_LOOKS = {"every_steps", "samples_to_keep", "wanted_half_width"}


def training_hash(spec: JobSpec) -> str:
    """Of all that the adapter's bytes depend on: a run resumes from checkpoints of its own hash only."""
    fields = spec.model_dump(mode="json", exclude=_WITHOUT_INFLUENCE)
    if spec.method.lr_schedule != "constant":
        fields["schedule_steps"] = spec.budget.max_steps
    return _sha256(fields)


def continuation_hash(spec: JobSpec) -> str:
    """Of what another job's full state can be taken over for: the base's scores, counters and optimiser fit.

    Learning rate and schedule may differ, how often is evaluated, and how patient an early stop is.
    """
    return _sha256(continuation_fields(spec))


def continuation_fields(spec: JobSpec) -> dict[str, Any]:
    """What `continuation_hash` covers, by the spec's fields; `keeps` is what an early stop goes back to."""
    fields = spec.model_dump(mode="json", exclude={*_WITHOUT_INFLUENCE, "early_stop"})
    fields["method"] = _without(fields["method"], _LEARNING)
    fields["evaluation"] = _without(fields["evaluation"], _LOOKS)
    rule = spec.early_stop
    if rule is not None and rule.goes_back:
        # By this rule the state keeps an earlier adapter.
        fields["keeps"] = [rule.metric, rule.reward, rule.min_delta]
    return fields


def _without(fields: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _sha256(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
