"""Checks a job spec against the catalogue and fills in its defaults: all faults at once.

Free of torch: the API answers with these faults before anything is stored, and the trainer checks
again before anything is loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from vader_core.catalogue import BaseModelRow, Catalogue, RewardRow
from vader_core.faults import Fault, InvalidSpec, escaped, salvage, shape_faults
from vader_core.prompts import split
from vader_core.spec import Frames, Guard, JobSpec, Prompt, RewardTerm, Video

Row = TypeVar("Row", BaseModelRow, RewardRow)
Term = TypeVar("Term", RewardTerm, Guard)
LoadPrompts = Callable[[str], list[Prompt] | None]


def check(document: JsonValue, catalogue: Catalogue, load_prompts: LoadPrompts) -> JobSpec:
    """The resolved spec that `document` (parsed JSON) describes.

    What is wrong with the document's shape does not hide what is wrong with its content: the sound
    fields are checked against the catalogue all the same. `load_prompts` gives the prompts of a stored
    prompt set, or None when there is no such set. Raises `InvalidSpec` with every fault found.
    """
    faults: list[Fault] = []
    stand_ins: set[str] = set()
    try:
        spec = JobSpec.model_validate(document)
    except ValidationError as error:
        faults = shape_faults(error)
        salvaged = salvage(document, error)
        if salvaged is None:
            raise InvalidSpec(faults) from error
        spec, stand_ins = salvaged
    prompts = spec.prompts.inline
    if prompts is None:
        prompts = load_prompts(spec.prompts.prompt_set or "")
    if prompts is None:
        faults.append(_unknown_prompt_set(spec))
        stand_ins.add("prompts")
        prompts = []
    try:
        resolved = resolve(spec, catalogue, prompts)
    except InvalidSpec as error:
        faults += [f for f in error.faults if f.pointer.split("/")[1] not in stand_ins]
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
        faults.append(_unknown("base model", spec.base_model, catalogue.base_models, "/base_model"))
    faults += _reward_faults(spec, catalogue, prompts)
    faults += _guard_faults(spec, catalogue)
    faults += _prompt_faults(spec, prompts)
    if base_model is None:
        raise InvalidSpec(faults)
    video = with_defaults(spec.video, base_model)
    faults += _size_faults(video, base_model) + _step_faults(spec, video)
    faults += _movement_faults(spec, video, catalogue)
    if faults:
        raise InvalidSpec(faults)
    targets = spec.adapter.target_modules or base_model.lora_targets
    guards = default_guards(spec, catalogue) if spec.guards is None else spec.guards
    return spec.model_copy(
        update={
            "base_model": f"{base_model.id}@{base_model.version}",
            "rewards": [_with_version(term, catalogue) for term in spec.rewards],
            "guards": [_with_version(guard, catalogue) for guard in guards],
            "video": video,
            "adapter": spec.adapter.model_copy(update={"target_modules": targets}),
        }
    )


def find_row(name: str, rows: Mapping[str, Row]) -> Row | None:
    """The row that `name` ("id" or "id@version") means, or None."""
    row_id, _, version = name.partition("@")
    row = rows.get(row_id)
    return row if row is not None and version in {"", row.version} else None


def with_defaults(video: Video, row: BaseModelRow) -> Video:
    """`video` with the base model's defaults where it says nothing."""
    defaults = row.defaults.model_dump()
    given = video.model_dump(exclude_none=True)
    return Video.model_validate({**defaults, **given})


def default_guards(spec: JobSpec, catalogue: Catalogue) -> list[Guard]:
    """Diversity (where prompts have several seeds), motion, and a text match that is not trained on."""
    guards = [Guard(reward="diversity")] if len(spec.evaluation.seeds) > 1 else []
    if spec.video.num_frames != 1:
        guards.append(Guard(reward="motion"))
    trained = {term.reward.partition("@")[0] for term in spec.rewards}
    matches = [r.id for r in catalogue.rewards.values() if r.kind == "clip_text_match"]
    guards += [Guard(reward=match) for match in matches[:1] if match not in trained]
    return guards


def _unknown(what: str, name: str, rows: Mapping[str, Row], pointer: str) -> Fault:
    known = sorted(f"{row.id}@{row.version}" for row in rows.values())
    return Fault(
        pointer=pointer,
        code="unknown_" + what.replace(" ", "_"),
        detail=f"There is no {what} {name!r}. Known: {', '.join(known)}.",
        nearest=list(difflib.get_close_matches(name, known, n=3, cutoff=0.4)),
    )


def _with_version(term: Term, catalogue: Catalogue) -> Term:
    row = find_row(term.reward, catalogue.rewards)
    return term.model_copy(update={"reward": f"{row.id}@{row.version}"}) if row else term


def _reward_faults(spec: JobSpec, catalogue: Catalogue, prompts: list[Prompt]) -> list[Fault]:
    faults: list[Fault] = []
    for i, term in enumerate(spec.rewards):
        pointer = f"/rewards/{i}/reward"
        row = find_row(term.reward, catalogue.rewards)
        if row is None:
            faults.append(_unknown("reward", term.reward, catalogue.rewards, pointer))
            continue
        if not row.differentiable:
            detail = f"{row.id} gives no gradient: reward_gradient cannot train on it, but it can be a guard."
            faults.append(Fault(pointer=pointer, code="not_differentiable", detail=detail))
        faults += _param_faults(term, row, f"/rewards/{i}/params")
        faults += _target_faults(row, prompts, spec.prompts.inline is not None)
    return faults


def _guard_faults(spec: JobSpec, catalogue: Catalogue) -> list[Fault]:
    faults: list[Fault] = []
    for i, guard in enumerate(spec.guards or []):
        row = find_row(guard.reward, catalogue.rewards)
        if row is None:
            faults.append(
                _unknown("reward", guard.reward, catalogue.rewards, f"/guards/{i}/reward")
            )
        else:
            faults += _param_faults(guard, row, f"/guards/{i}/params")
            if row.per == "group" and len(spec.evaluation.seeds) < 2:
                detail = f"{row.id} compares videos of one prompt: it needs at least 2 seeds."
                faults.append(
                    Fault(pointer="/evaluation/seeds", code="too_few_seeds", detail=detail)
                )
    return faults


def _param_faults(term: RewardTerm | Guard, row: RewardRow, pointer: str) -> list[Fault]:
    known = row.params_schema.get("properties")
    names = sorted(known) if isinstance(known, dict) else []
    legal = f"Known: {', '.join(names)}." if names else "It takes none."
    return [
        Fault(
            pointer=f"{pointer}/{escaped(name)}",
            code="unknown_param",
            detail=f"{row.id} has no parameter {name!r}. {legal}",
        )
        for name in term.params
        if name not in names
    ]


def _target_faults(row: RewardRow, prompts: list[Prompt], inline: bool) -> list[Fault]:  # noqa: FBT001
    if not row.needs_target:
        return []
    return [
        Fault(
            pointer=f"/prompts/inline/{i}/target" if inline else "/prompts/prompt_set",
            code="unknown_target",
            detail=(
                f"{row.id} needs a target for every prompt; prompt {i} ({prompt.prompt!r}) has "
                f"{prompt.target!r}. Legal: {', '.join(row.targets)}."
            ),
            nearest=list(difflib.get_close_matches(prompt.target or "", row.targets, n=2)),
        )
        for i, prompt in enumerate(prompts)
        if prompt.target not in row.targets
    ]


def _prompt_faults(spec: JobSpec, prompts: list[Prompt]) -> list[Fault]:
    pointer = "/prompts/inline" if spec.prompts.inline is not None else "/prompts/prompt_set"
    training, heldout = split(prompts, spec.prompts.heldout_fraction)
    sides: list[tuple[str, list[Prompt]]] = [("training", training), ("held-out", heldout)]
    advice = "Mark prompts with `heldout` or change `heldout_fraction`."
    return [
        Fault(
            pointer=pointer,
            code=f"no_{side.replace('-', '')}_prompts",
            detail=f"None of the {len(prompts)} prompts is a {side} prompt. {advice}",
        )
        for side, members in sides
        if not members
    ]


def _size_faults(video: Video, row: BaseModelRow) -> list[Fault]:
    rule = row.sizes
    legal_pixels = range(rule.multiple, rule.max_pixels + 1, rule.multiple)
    legal_frames = [
        n
        for n in range(rule.min_frames, rule.max_frames + 1)
        if (n - rule.frames_offset) % rule.frames_multiple == 0
    ]
    sizes = f"multiples of {rule.multiple} from {rule.min_pixels} to {rule.max_pixels} pixels"
    frames = f"{rule.min_frames} to {rule.max_frames} frames"
    if rule.frames_multiple > 1:
        frames += f" of the form {rule.frames_multiple}k+{rule.frames_offset}"
    checks: list[tuple[str, int | None, list[int], str]] = [
        ("width", video.width, [p for p in legal_pixels if p >= rule.min_pixels], sizes),
        ("height", video.height, [p for p in legal_pixels if p >= rule.min_pixels], sizes),
        ("num_frames", video.num_frames, legal_frames, frames),
    ]
    return [
        Fault(
            pointer=f"/video/{field}",
            code="not_in_set",
            detail=f"{row.id} needs {legal_text}; got {value}.",
            nearest=list(sorted(legal, key=_distance_to(value))[:2]),
        )
        for field, value, legal, legal_text in checks
        if value is not None and value not in legal
    ]


def _distance_to(value: int) -> Callable[[int], int]:
    return lambda legal: abs(legal - value)


def _step_faults(spec: JobSpec, video: Video) -> list[Fault]:
    faults: list[Fault] = []
    steps = video.inference_steps or 1
    if spec.method.differentiable_steps > steps:
        detail = f"At most the {steps} inference steps can be differentiable; got {spec.method.differentiable_steps}."
        faults.append(_not_in_set("/method/differentiable_steps", detail, steps))
    frames, chosen = video.num_frames or 1, spec.method.frames
    if chosen.index is not None and chosen.index >= frames:
        detail = f"The last of {frames} frames has index {frames - 1}; got {chosen.index}."
        faults.append(_not_in_set("/method/frames/index", detail, frames - 1))
    if chosen.n is not None and chosen.n > frames:
        detail = f"A video has {frames} frames; got n = {chosen.n}."
        faults.append(_not_in_set("/method/frames/n", detail, frames))
    return faults


def _movement_faults(spec: JobSpec, video: Video, catalogue: Catalogue) -> list[Fault]:
    """Rewards of whole videos look at movement: one frame has none."""
    whole = [f"/rewards/{i}" for i, t in enumerate(spec.rewards) if _is_per_video(t, catalogue)]
    if (video.num_frames or 0) < 2:
        whole += [
            f"/guards/{i}" for i, g in enumerate(spec.guards or []) if _is_per_video(g, catalogue)
        ]
        pointer, got = "/video/num_frames", "the video has one"
    elif _frames_chosen(spec.method.frames, video.num_frames or 1) < 2:
        pointer, got = "/method/frames", "this chooses one"
    else:
        return []
    detail = f"{', '.join(whole)}: a reward of whole videos needs at least 2 frames; {got}."
    return [Fault(pointer=pointer, code="too_few_frames", detail=detail)] if whole else []


def _frames_chosen(frames: Frames, num_frames: int) -> int:
    if frames.mode == "every_nth":
        return len(range(0, num_frames, frames.n or 1))
    return {"index": 1, "random": frames.n or 1}.get(frames.mode, num_frames)


def _is_per_video(term: RewardTerm | Guard, catalogue: Catalogue) -> bool:
    row = find_row(term.reward, catalogue.rewards)
    return row is not None and row.per == "video"


def _not_in_set(pointer: str, detail: str, nearest: int) -> Fault:
    return Fault(pointer=pointer, code="not_in_set", detail=detail, nearest=[nearest])
