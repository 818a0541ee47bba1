"""What is wrong with the rewards and guards of a spec. Free of torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import jsonschema
from pydantic import JsonValue

from vader_core.catalogue import Catalogue, RewardRow, find_row
from vader_core.faults import Fault, escaped
from vader_core.guard_rules import bound_faults
from vader_core.method_spec import GRADIENT_FREE, RewardGradient
from vader_core.row_faults import missing_weights, unknown_row
from vader_core.spec import JobSpec, Prompt, RewardTerm

_SHOWN_TARGETS = 40


def reward_faults(spec: JobSpec, catalogue: Catalogue, prompts: list[Prompt]) -> list[Fault]:
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for i, term in enumerate(spec.rewards):
        faults += _score_bound_faults(spec, term, f"/rewards/{i}")
        pointer = f"/rewards/{i}/reward"
        row = find_row(term.reward, catalogue.rewards)
        if row is None:
            faults.append(unknown_row("reward", term.reward, catalogue.rewards, pointer))
            continue
        if first.setdefault(row.id, i) != i:
            detail = f"{row.id} is already rewards/{first[row.id]}: give it one weight."
            faults.append(Fault(pointer=pointer, code="duplicate_reward", detail=detail))
        faults += _use_faults(spec, row, pointer)
        faults += missing_weights(row, "reward", pointer)
        faults += param_faults(term.params, row, f"/rewards/{i}/params")
        faults += _target_faults(row, prompts, spec.prompts.inline is not None)
    return faults


def _score_bound_faults(spec: JobSpec, term: RewardTerm, pointer: str) -> list[Fault]:
    if term.aim is not None and term.cap is not None:
        detail = "Give `aim` or `cap`: an aim is a bound from above already."
        return [Fault(pointer=f"{pointer}/cap", code="two_bounds", detail=detail)]
    name = "cap" if term.aim is None else "aim"
    relative = isinstance(spec.method, RewardGradient) and spec.method.relative_prompt
    if not relative or getattr(term, name) is None:
        return []
    detail = (
        "It is a bound of a score; with `method.relative_prompt` the difference of two scores is "
        "trained."
    )
    return [Fault(pointer=f"{pointer}/{name}", code="bound_of_difference", detail=detail)]


def _use_faults(spec: JobSpec, row: RewardRow, pointer: str) -> list[Fault]:
    """Whether the method can train on this reward. Training scores every video by itself."""
    needs = "compares the videos of a prompt" if row.per == "group" else None
    if row.needs_reference:
        needs = "compares a video with the base model's own"
    if needs is not None:
        detail = f"{row.id} {needs}, which only evaluations do: it can be a guard and nothing else."
        return [Fault(pointer=pointer, code="guard_only", detail=detail)]
    if row.differentiable or spec.method.type in GRADIENT_FREE:
        return []
    detail = (
        f"{row.id} gives no gradient, which {spec.method.type} needs. Methods that take any reward: "
        f"{', '.join(GRADIENT_FREE)}. It can also be a guard."
    )
    return [Fault(pointer=pointer, code="not_differentiable", detail=detail)]


def guard_faults(spec: JobSpec, catalogue: Catalogue, prompts: list[Prompt]) -> list[Fault]:
    faults: list[Fault] = []
    for i, guard in enumerate(spec.guards or []):
        row = find_row(guard.reward, catalogue.rewards)
        if row is None:
            faults.append(
                unknown_row("reward", guard.reward, catalogue.rewards, f"/guards/{i}/reward")
            )
        else:
            faults += missing_weights(row, "reward", f"/guards/{i}/reward")
            faults += param_faults(guard.params, row, f"/guards/{i}/params")
            faults += bound_faults(guard, row, f"/guards/{i}")
            faults += _target_faults(row, prompts, spec.prompts.inline is not None)
            if row.per == "group" and len(spec.evaluation.seeds) < 2:
                detail = f"{row.id} compares videos of one prompt: it needs at least 2 seeds."
                faults.append(
                    Fault(pointer="/evaluation/seeds", code="too_few_seeds", detail=detail)
                )
    return faults


def param_faults(params: Mapping[str, JsonValue], row: RewardRow, pointer: str) -> list[Fault]:
    """What the row's JSON Schema says against the parameters."""
    faults: list[Fault] = []
    for error in jsonschema.Draft202012Validator(row.params_schema).iter_errors(params):
        place = "".join(f"/{escaped(part)}" for part in error.absolute_path)
        if error.validator == "additionalProperties":
            faults += _unknown_params(params, row, pointer)
        else:
            code = "missing_param" if error.validator == "required" else "invalid_param"
            detail = f"{row.id}: {error.message}."
            faults.append(Fault(pointer=f"{pointer}{place}", code=code, detail=detail))
    return faults


def _unknown_params(params: Mapping[str, JsonValue], row: RewardRow, pointer: str) -> list[Fault]:
    known = row.params_schema.get("properties")
    names = sorted(known) if isinstance(known, dict) else []
    legal = f"Known: {', '.join(names)}." if names else "It takes none."
    return [
        Fault(
            pointer=f"{pointer}/{escaped(name)}",
            code="unknown_param",
            detail=f"{row.id} has no parameter {name!r}. {legal}",
        )
        for name in params
        if name not in names
    ]


def _target_faults(row: RewardRow, prompts: list[Prompt], inline: bool) -> list[Fault]:  # noqa: FBT001
    faults = (
        target_fault(
            row,
            prompt.target,
            of=f"prompt {i} ({prompt.prompt!r})",
            pointer=f"/prompts/inline/{i}/target" if inline else "/prompts/prompt_set",
        )
        for i, prompt in enumerate(prompts)
    )
    return [fault for fault in faults if fault is not None]


def target_fault(row: RewardRow, target: str | None, *, of: str, pointer: str) -> Fault | None:
    """What is wrong with the target of the prompt or video `of`, if the row needs one."""
    if not row.needs_target or (target is not None and (not row.targets or target in row.targets)):
        return None
    return Fault(
        pointer=pointer,
        code="unknown_target",
        detail=f"{row.id} needs a target for every prompt; {of} has {target!r}. "
        f"Legal: {_shown(row.targets)}.",
        nearest=list(difflib.get_close_matches(target or "", row.targets, n=2)),
    )


def _shown(targets: list[str]) -> str:
    """The labels as a list that stays readable."""
    if not targets:
        return "any label of the model"
    more = f" and {len(targets) - _SHOWN_TARGETS} more" if len(targets) > _SHOWN_TARGETS else ""
    return ", ".join(targets[:_SHOWN_TARGETS]) + more
