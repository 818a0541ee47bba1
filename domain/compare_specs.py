"""How the specs of several jobs differ, and what of it makes their results incomparable. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from vader_core.faults import escaped
from vader_core.prompts import heldout_marks
from vader_core.spec import Prompt
from vader_core.strict import Strict

# Longer lists and texts are told by their hash: nobody reads two lists of a thousand prompts here.
_LONGEST_LIST = 10
_LONGEST_VALUE = 1000
# Names and labels say nothing of what was run.
_APART = ("name", "labels")


class Difference(Strict):
    """A place in the specs where the jobs are not alike; `values` go job by job.

    A value is null where a job's spec has no such place, and `{"sha256", "length"}` where it is too long
    to be shown.
    """

    pointer: str
    values: list[JsonValue]


class Remark(Strict):
    """Something to know before a comparison is believed. The set of codes is open."""

    code: str
    detail: str


@dataclass(frozen=True)
class _Rule:
    """A part of the spec in which comparable jobs agree."""

    code: str
    pointer: str
    detail: str


_RULES = (
    _Rule("different_base_models", "/base_model", "They start from different base models."),
    _Rule("different_variants", "/variant", "They use different variants of the base model."),
    _Rule("different_seeds", "/evaluation/seeds", "Their held-out videos have different seeds."),
    _Rule(
        "different_videos",
        "/video",
        "Their videos differ in size, length or the way that they are sampled.",
    ),
)
_ABSENT: JsonValue = None
# Metrics whose values depend on the prompts of the steps; times and sizes do not.
_OF_TRAINING = frozenset({"loss", "reward", "reward_std", "penalty", "grad_norm", "method"})


def differences(specs: Sequence[JsonValue]) -> list[Difference]:
    """Every place in which the specs are not all alike, in the order of the first spec's fields."""
    found = _differences("", [_without(spec, _APART) for spec in specs])
    return [
        Difference(pointer=pointer, values=list(map(_shown, values))) for pointer, values in found
    ]


def incomparable(specs: Sequence[JsonValue], key: str) -> list[Remark]:
    """Why results of these specs by the metric `key` cannot be compared; none: they can be."""
    remarks = [
        Remark(code=rule.code, detail=rule.detail)
        for rule in _RULES
        if not _alike([at(spec, rule.pointer) for spec in specs])
    ]
    if not _alike([measured_by(spec, key) for spec in specs]):
        detail = f"What `{key}` measures differs: other rewards, versions, weights or parameters."
        remarks.append(Remark(code="different_rewards", detail=detail))
    if key.partition(".")[0] in _OF_TRAINING and not same_prompts(specs, "training"):
        detail = f"`{key}` is measured on training prompts, and theirs are not the same."
        remarks.append(Remark(code="different_training_prompts", detail=detail))
    return remarks


def same_prompts(specs: Sequence[JsonValue], side: Literal["training", "heldout"]) -> bool:
    """Whether the specs name the same prompts for that side: the same stored set and fraction, or the
    same prompts in whatever order."""
    return _alike([_prompts(spec, side) for spec in specs])


def _prompts(spec: JsonValue, side: Literal["training", "heldout"]) -> JsonValue:
    fraction, inline = at(spec, "/prompts/heldout_fraction"), at(spec, "/prompts/inline")
    if not isinstance(inline, list):
        return [at(spec, "/prompts/prompt_set"), fraction]
    prompts = [Prompt.model_validate(prompt) for prompt in inline]
    marks = heldout_marks(prompts, float(str(fraction)))
    chosen = [
        p for p, heldout in zip(prompts, marks, strict=True) if heldout == (side == "heldout")
    ]
    told: list[JsonValue] = [[prompt.prompt, prompt.target, prompt.image] for prompt in chosen]
    return sorted(told, key=json.dumps)


def measured_by(spec: JsonValue, key: str) -> JsonValue:
    """What of the spec's rewards decides the value of the metric `key`: one of them, or all."""
    terms = at(spec, "/rewards")
    _, _, name = key.partition(".")
    if not name or not isinstance(terms, list):
        return terms
    # Weight and scale make the sum; the score of one reward is what it is.
    return [
        [reward, at(term, "/params")]
        for term in terms
        if isinstance(reward := at(term, "/reward"), str) and reward.partition("@")[0] == name
    ]


def at(document: JsonValue, pointer: str) -> JsonValue:
    """What stands at `pointer`, None where there is nothing."""
    for part in pointer.split("/")[1:]:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _differences(pointer: str, values: list[JsonValue]) -> list[tuple[str, list[JsonValue]]]:
    if _alike(values):
        return []
    members = [value for value in values if isinstance(value, dict)]
    if len(members) == len(values):
        names = dict.fromkeys(name for value in members for name in value)
        return [
            found
            for name in names
            for found in _differences(
                f"{pointer}/{escaped(name)}", [value.get(name, _ABSENT) for value in members]
            )
        ]
    lists = [value for value in values if isinstance(value, list)]
    length = len(lists[0]) if lists else 0
    same_length = len(lists) == len(values) and all(len(value) == length for value in lists)
    if same_length and length <= _LONGEST_LIST:
        return [
            found
            for index in range(length)
            for found in _differences(f"{pointer}/{index}", [value[index] for value in lists])
        ]
    return [(pointer, values)]


def _alike(values: Sequence[JsonValue]) -> bool:
    return all(value == values[0] for value in values)


def _without(spec: JsonValue, names: Sequence[str]) -> JsonValue:
    if not isinstance(spec, dict):
        return spec
    return {name: value for name, value in spec.items() if name not in names}


def _shown(value: JsonValue) -> JsonValue:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    if len(text) <= _LONGEST_VALUE:
        return value
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"sha256": digest, "length": len(value) if isinstance(value, str | list) else len(text)}
