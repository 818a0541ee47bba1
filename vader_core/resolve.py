"""Checks a job spec against the catalogue and fills in its defaults: all faults at once.

Free of torch: the API answers with these faults before anything is stored, and the trainer checks
again before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from vader_core.base_model_faults import (
    image_faults,
    size_faults,
    step_faults,
    variant_faults,
)
from vader_core.catalogue import BaseModelRow, Catalogue, find_row
from vader_core.early_stop_faults import early_stop_faults, stop_setting_faults
from vader_core.faults import Fault, InvalidSpec, salvage, shape_faults
from vader_core.guard_rules import with_bound
from vader_core.method_faults import method_faults
from vader_core.prompts import contradictions, split
from vader_core.reward_faults import guard_faults, reward_faults
from vader_core.row_faults import missing_weights, unknown_row
from vader_core.setting_faults import setting_faults
from vader_core.spec import EarlyStop, Guard, JobSpec, Prompt, RewardTerm, Video

Term = TypeVar("Term", RewardTerm, Guard)
LoadPrompts = Callable[[str], list[Prompt] | None]


def check(document: JsonValue, catalogue: Catalogue, load_prompts: LoadPrompts) -> JobSpec:
    """The resolved spec that `document` (parsed JSON) describes.

    What is wrong with the document's shape does not hide what is wrong with its content: the sound
    fields are checked against the catalogue all the same. `load_prompts` gives the prompts of a stored
    prompt set, or None when there is no such set. Raises `InvalidSpec` with every fault found.
    """
    faults: list[Fault] = []
    dropped: set[str] = set()
    try:
        spec = JobSpec.model_validate(document)
    except ValidationError as error:
        faults = shape_faults(error, document)
        salvaged = salvage(document, error)
        if salvaged is None:
            raise InvalidSpec(faults) from error
        spec, dropped = salvaged
    prompts = spec.prompts.inline
    if prompts is None:
        prompts = load_prompts(spec.prompts.prompt_set or "")
    if prompts is None:
        faults.append(_unknown_prompt_set(spec))
        dropped.add("/prompts")
        prompts = []
    try:
        resolved = resolve(spec, catalogue, prompts)
    except InvalidSpec as error:
        faults += [fault for fault in error.faults if fault.means_something(dropped)]
    if faults:
        raise InvalidSpec(faults)
    return resolved


def _unknown_prompt_set(spec: JobSpec) -> Fault:
    detail = f"There is no prompt set {spec.prompts.prompt_set!r} in this project."
    return Fault(pointer="/prompts/prompt_set", code="unknown_prompt_set", detail=detail)


def resolve(spec: JobSpec, catalogue: Catalogue, prompts: list[Prompt]) -> JobSpec:
    """`spec` with every default filled in and names completed to `id@version`.

    `prompts` are those that `spec.prompts` stands for. Raises `InvalidSpec` with every fault found.
    """
    faults: list[Fault] = []
    base_model = find_row(spec.base_model, catalogue.base_models)
    if base_model is None:
        faults.append(
            unknown_row("base model", spec.base_model, catalogue.base_models, "/base_model")
        )
    faults += reward_faults(spec, catalogue, prompts)
    faults += guard_faults(spec, catalogue, prompts)
    faults += _prompt_faults(spec, prompts)
    faults += setting_faults(spec) + stop_setting_faults(spec)
    if base_model is None:
        raise InvalidSpec(faults)
    faults += missing_weights(base_model, "base model", "/base_model")
    faults += variant_faults(spec.variant, spec.video, base_model)
    faults += image_faults(spec, base_model, prompts)
    video = with_defaults(spec.video, base_model, spec.variant)
    faults += size_faults(video, base_model) + step_faults(video, base_model)
    faults += method_faults(spec, video, base_model, catalogue)
    guards = default_guards(spec, catalogue, base_model) if spec.guards is None else spec.guards
    faults += early_stop_faults(spec, guards, catalogue)
    if faults:
        raise InvalidSpec(faults)
    targets = spec.adapter.target_modules or base_model.lora_targets
    return spec.model_copy(
        update={
            "base_model": f"{base_model.id}@{base_model.version}",
            "rewards": [_with_version(term, catalogue) for term in spec.rewards],
            "guards": [_with_bound(_with_version(guard, catalogue), catalogue) for guard in guards],
            "video": video,
            "adapter": spec.adapter.model_copy(update={"target_modules": targets}),
            "early_stop": _early_stop(spec.early_stop, catalogue),
        }
    )


def with_defaults(video: Video, row: BaseModelRow, variant: str | None = None) -> Video:
    """`video` with the base model's defaults, or its variant's, where it says nothing."""
    defaults = row.defaults.model_dump()
    form = row.variants.get(variant or "")
    if form is not None:
        defaults |= form.model_dump(include={"inference_steps", "guidance_scale"})
    given = video.model_dump(exclude_none=True)
    return Video.model_validate({**defaults, **given})


def default_guards(spec: JobSpec, catalogue: Catalogue, base_model: BaseModelRow) -> list[Guard]:
    """Diversity (where prompts have several seeds), motion, and a text match that is not trained on.

    The text match is an installed one of the base model's own world: a tiny CLIP knows no other words
    than the tiny base models' prompts.
    """
    guards = [Guard(reward="diversity")] if len(spec.evaluation.seeds) > 1 else []
    if spec.video.num_frames != 1:
        guards.append(Guard(reward="motion"))
    trained = {term.reward.partition("@")[0] for term in spec.rewards}
    matches = [
        row.id
        for row in catalogue.rewards.values()
        if row.kind == "clip_similarity"
        and row.id not in trained
        and row.installed
        and (row.revision == "built-in") == (base_model.revision == "built-in")
    ]
    guards += [Guard(reward=match) for match in matches[:1]]
    return guards


def _with_version(term: Term, catalogue: Catalogue) -> Term:
    row = find_row(term.reward, catalogue.rewards)
    return term.model_copy(update={"reward": f"{row.id}@{row.version}"}) if row else term


def _early_stop(rule: EarlyStop | None, catalogue: Catalogue) -> EarlyStop | None:
    """The rule with the version of the reward that it watches."""
    if rule is None or rule.reward is None:
        return rule
    watched = _with_version(Guard(reward=rule.reward), catalogue)
    return rule.model_copy(update={"reward": watched.reward})


def _with_bound(guard: Guard, catalogue: Catalogue) -> Guard:
    row = find_row(guard.reward, catalogue.rewards)
    return with_bound(guard, row) if row else guard


def _prompt_faults(spec: JobSpec, prompts: list[Prompt]) -> list[Fault]:
    pointer = "/prompts/inline" if spec.prompts.inline is not None else "/prompts/prompt_set"
    training, heldout = split(prompts, spec.prompts.heldout_fraction)
    sides: list[tuple[str, list[Prompt]]] = [("training", training), ("held-out", heldout)]
    advice = "Mark prompts with `heldout` or change `heldout_fraction`."
    missing = [
        Fault(
            pointer=pointer,
            code=f"no_{side.replace('-', '')}_prompts",
            detail=f"None of the {len(prompts)} prompts is a {side} prompt. {advice}",
        )
        for side, members in sides
        if not members
    ]
    # A stored set was refused where it contradicts itself.
    return [*missing, *both_sides_faults(spec.prompts.inline or [], pointer)]


def both_sides_faults(prompts: list[Prompt], pointer: str) -> list[Fault]:
    """Prompts that are marked for training and, written alike, for the held-out side.

    `pointer` is that of the list.
    """
    detail = (
        "The same prompt is marked for training and as held out: it would be judged by what it was "
        "trained on. Spaces and case make no difference."
    )
    return [
        Fault(pointer=f"{pointer}/{index}/heldout", code="prompt_on_both_sides", detail=detail)
        for index in contradictions(prompts)
    ]
