"""What is wrong with a method's settings beside each other, whatever the base model. Free of torch.

A setting that has no effect beside the others is refused where it differs from its default, so that a
resolved spec, which says everything, stays valid.
"""

from __future__ import annotations

from pydantic import JsonValue

from vader_core.faults import Fault, not_in_set, resting_on
from vader_core.method_spec import Ddpo, Grpo, OnlineSettings, RewardGradient
from vader_core.spec import JobSpec

_NEAR = 1000
_ONE_STEP_PATHS = ("clean_prediction", "leap", "direct_align")


def setting_faults(spec: JobSpec) -> list[Fault]:
    """Faults of `spec.method` by itself, and of a budget that pays for none of its steps."""
    method = spec.method
    faults: list[Fault] = []
    if isinstance(method, RewardGradient):
        faults += _given_step_faults(method) + _range_faults(method) + _path_faults(method)
        faults += _unused_faults(method)
    else:
        faults += _group_faults(method)
    if isinstance(method, Ddpo):
        faults += _window_faults(method)
    if isinstance(method, Grpo):
        faults += _noise_faults(method)
    return faults + _query_faults(spec)


def _given_step_faults(method: RewardGradient) -> list[Fault]:
    pointer, given = "/method/given_steps", method.given_steps
    if method.step_choice != "given":
        return [] if given is None else [_unused(pointer, "step_choice given")]
    if given is None:
        detail = "step_choice given takes the steps from here, counted from 0."
        fault = Fault(pointer=pointer, code="missing_setting", detail=detail)
        return resting_on([fault], "/method/step_choice")
    return [
        Fault(pointer=f"{pointer}/{i}", code="step_twice", detail=f"Step {step} is named already.")
        for i, step in enumerate(given)
        if step in given[:i]
    ]


def _range_faults(method: RewardGradient) -> list[Fault]:
    low, high = method.step_range
    if low < high:
        return []
    detail = f"It goes from a smaller to a larger part of the denoising; got {low:g} to {high:g}."
    nearest: list[JsonValue] = [[high, low]] if low > high else []
    return [Fault(pointer="/method/step_range", code="not_in_set", detail=detail, nearest=nearest)]


def _path_faults(method: RewardGradient) -> list[Fault]:
    if method.path in _ONE_STEP_PATHS:
        faults = _one_step_faults(method)
    elif method.path == "last_step_redraws":
        faults = _last_step_faults(method)
    else:
        return []
    return resting_on(faults, "/method/path", "/method/step_choice")


def _one_step_faults(method: RewardGradient) -> list[Fault]:
    takes = f"path {method.path} takes one step, random or given"
    if method.step_choice not in {"random", "given"}:
        detail = f"{takes}; got step_choice {method.step_choice}{_default(method, 'step_choice')}."
        return [not_in_set("/method/step_choice", detail, "random", "given")]
    if method.step_choice == "given":
        given = method.given_steps or [0]
        first: list[JsonValue] = [given[0]]
        detail = f"{takes}; got {len(given)}."
        return [not_in_set("/method/given_steps", detail, first)] if len(given) > 1 else []
    return _one_differentiable_step(method, takes)


def _last_step_faults(method: RewardGradient) -> list[Fault]:
    takes = "path last_step_redraws takes the last step alone"
    if method.step_choice != "last":
        detail = f"{takes}; got step_choice {method.step_choice}."
        return [not_in_set("/method/step_choice", detail, "last")]
    return _one_differentiable_step(method, takes)


def _one_differentiable_step(method: RewardGradient, takes: str) -> list[Fault]:
    count = method.differentiable_steps
    detail = f"{takes}; got differentiable_steps {count}."
    return [not_in_set("/method/differentiable_steps", detail, 1)] if count != 1 else []


def _unused_faults(method: RewardGradient) -> list[Fault]:
    """Settings that were changed and do nothing."""
    choice, path = method.step_choice, method.path
    useless = {
        "differentiable_steps": (choice == "given", "a step_choice other than given"),
        "step_range": (choice not in {"random", "even"}, "step_choice random or even"),
        "noise_draws": (path != "last_step_redraws", "path last_step_redraws"),
        "detach_input": (path in _ONE_STEP_PATHS, "path sampler: this path's input has no graph"),
    }
    faults = [
        _unused(f"/method/{name}", goes_with)
        for name, (does_nothing, goes_with) in useless.items()
        if does_nothing and getattr(method, name) != type(method).model_fields[name].default
    ]
    faults = resting_on(faults, "/method/step_choice", "/method/path")
    relative = method.relative_prompt
    if relative is not None and relative.wanted == relative.unwanted:
        detail = "The same words as `wanted`: the two scores would cancel, and nothing be learnt."
        pointer = "/method/relative_prompt/unwanted"
        faults.append(Fault(pointer=pointer, code="same_words", detail=detail))
    return faults


def _unused(pointer: str, goes_with: str) -> Fault:
    detail = f"It has no effect here: it goes with {goes_with}."
    return Fault(pointer=pointer, code="setting_not_used", detail=detail)


def _group_faults(method: OnlineSettings) -> list[Fault]:
    """`nearest` are the sizes around the asked one that divide a step's videos and that the method can take."""
    videos, size = method.videos_per_step, method.group_size
    if videos % size == 0:
        return []
    least = 1 if isinstance(method, Ddpo) else 2
    # Both may be as large as a client likes, so sizes far from the asked one are not looked at.
    near = range(max(least, size - _NEAR), min(videos, size + _NEAR) + 1)
    whole = [number for number in near if videos % number == 0]
    detail = (
        f"batch_size * gradient_accumulation ({videos}) must be a multiple of group_size; "
        f"got {size}{_default(method, 'group_size')}."
    )
    nearest: list[JsonValue] = list(sorted(whole, key=lambda number: abs(number - size))[:2])
    fault = Fault(
        pointer="/method/group_size", code="group_not_whole", detail=detail, nearest=nearest
    )
    return resting_on([fault], "/method/batch_size", "/method/gradient_accumulation")


def _window_faults(method: Ddpo) -> list[Fault]:
    window, least = method.statistics_window, method.statistics_min
    if least <= window:
        return []
    detail = (
        f"A window of {window} rewards never holds {least}{_default(method, 'statistics_min')}."
    )
    fault = not_in_set("/method/statistics_min", detail, window)
    return resting_on([fault], "/method/statistics_window")


def _noise_faults(method: Grpo) -> list[Fault]:
    if method.flow_sampler != "ddim" or method.noise_level <= 1:
        return []
    detail = f"flow_sampler ddim takes a noise_level of at most 1; got {method.noise_level:g}."
    return resting_on([not_in_set("/method/noise_level", detail, 1)], "/method/flow_sampler")


def _query_faults(spec: JobSpec) -> list[Fault]:
    """A training step is only begun where the budget pays for all of it."""
    limit, method = spec.budget.max_reward_queries, spec.method
    needed = method.videos_per_step * method.scores_per_video * len(spec.rewards)
    if limit is None or limit >= needed:
        return []
    detail = f"One training step takes {needed} queries; got {limit}."
    fault = Fault(
        pointer="/budget/max_reward_queries",
        code="budget_below_one_step",
        detail=detail,
        nearest=[needed],
    )
    return resting_on([fault], "/method", "/rewards")


def _default(method: RewardGradient | OnlineSettings, name: str) -> str:
    return "" if name in method.model_fields_set else " (the default)"
