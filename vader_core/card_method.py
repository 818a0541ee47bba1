"""What an adapter's card says of the method that trained it. Free of torch."""

from __future__ import annotations

import json

from pydantic import JsonValue

from vader_core.method_catalogue import METHODS
from vader_core.method_spec import Method, MethodSettings, OnlineSettings, RewardGradient

# Told in other rows of the card, or in the rows of the steps or of the group.
_TOLD = frozenset(
    {
        *(
            "type",
            "differentiable_steps",
            "step_choice",
            "given_steps",
            "group_size",
            "train_steps",
        ),
        *("learning_rate", "lr_schedule", "batch_size", "gradient_accumulation"),
    }
)


def trained_by(method: Method) -> str:
    """The method's name and source, to stand after "trained by"."""
    row = METHODS[method.type]
    return f"{row.title} ({row.paper})"


def method_facts(method: Method) -> list[tuple[str, str]]:
    """Rows of the card's table: what makes the method what it is, and what is not at its default."""
    facts = [("method", f"`{method.type}`: {METHODS[method.type].summary}")]
    if isinstance(method, RewardGradient):
        facts.append(("differentiable steps", _steps(method)))
    else:
        facts.append(("videos of a prompt together", str(method.group_size)))
        facts.append(("denoising steps learnt from", _learnt_from(method)))
    own = method.model_dump(mode="json", include=_own(method), exclude_none=True)
    if own:
        facts.append(("settings of the method", _told(own)))
    changed = method.model_dump(mode="json", exclude_defaults=True, exclude={*_TOLD, *own})
    if changed:
        facts.append(("other settings", _told(changed)))
    return facts


def _own(method: Method) -> set[str]:
    """The settings that say how strongly and by what way the method learns, told at any value.

    Most of what reward gradients can be given is off by default and says nothing then.
    """
    if isinstance(method, RewardGradient):
        return {"path"}
    return set(type(method).model_fields) - set(MethodSettings.model_fields) - _TOLD


def _told(settings: dict[str, JsonValue]) -> str:
    return f"`{', '.join(f'{name} {json.dumps(value)}' for name, value in settings.items())}`"


def _learnt_from(method: OnlineSettings) -> str:
    if method.train_steps is None:
        return "all"
    return f"{method.train_steps}, drawn anew for every micro-batch"


def _steps(method: RewardGradient) -> str:
    if method.given_steps is not None:
        return f"{', '.join(str(step) for step in method.given_steps)}, counted from 0"
    count = method.differentiable_steps
    ways = {
        "last": f"the last {count}",
        "random_last": f"the last 1 to {count}, drawn anew at every training step",
        "random": f"{count}, drawn anew at every training step",
        "even": f"{count} evenly spread ones, drawn anew at every training step",
    }
    return ways[method.step_choice]
