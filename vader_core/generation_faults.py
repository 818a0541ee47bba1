"""Checks what a generation asks for against the catalogue and fills in its defaults: all faults at once.

Free of torch: the API answers with these faults before anything is stored, and the command `generate`
checks again before anything is loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from vader_core.base_model_faults import size_faults, step_faults, variant_faults
from vader_core.catalogue import BaseModelRow, Catalogue, RewardRow, find_row
from vader_core.faults import Fault, InvalidSpec, resting_on, shape_faults
from vader_core.generating import GenerationSpec, ScoreWith
from vader_core.resolve import with_defaults
from vader_core.reward_faults import param_faults, target_fault
from vader_core.row_faults import missing_weights, unknown_row
from vader_core.spec import Video

_ABSENT = "stands in"


@dataclass(frozen=True)
class AdapterOrigin:
    """What an adapter was trained on: `base_model` is id@version."""

    base_model: str
    variant: str | None


FindAdapter = Callable[[str], AdapterOrigin | None]


def check(document: JsonValue, catalogue: Catalogue, find_adapter: FindAdapter) -> GenerationSpec:
    """The resolved spec that `document` (parsed JSON) describes.

    What is wrong with the document's shape does not hide what is wrong with its content. `find_adapter`
    says where an adapter comes from, or None when there is none of that name. Raises `InvalidSpec` with
    every fault found.
    """
    faults: list[Fault] = []
    dropped: set[str] = set()
    try:
        spec = GenerationSpec.model_validate({} if document is None else document)
    except ValidationError as error:
        faults = shape_faults(error, {} if document is None else document)
        salvaged = _salvaged(document, faults)
        if salvaged is None:
            raise InvalidSpec(faults) from error
        spec, dropped = salvaged
    origin = None if spec.adapter is None else find_adapter(spec.adapter)
    if spec.adapter is not None and origin is None:
        detail = f"There is no adapter {spec.adapter!r}."
        faults.append(Fault(pointer="/adapter", code="unknown_adapter", detail=detail))
        dropped.add("/base_model")
    try:
        whole = _resolved(spec, catalogue, origin)
    except InvalidSpec as error:
        faults += [fault for fault in error.faults if fault.means_something(dropped)]
    if faults:
        # Two rewards may miss the same target.
        raise InvalidSpec(list({(one.pointer, one.code): one for one in faults}.values()))
    return whole


def _salvaged(document: JsonValue, faults: list[Fault]) -> tuple[GenerationSpec, set[str]] | None:
    """A spec of what is sound in `document`, and the pointers of what was not; None where nothing is."""
    if not isinstance(document, dict):
        return None
    sound = copy.deepcopy(document)
    dropped: set[str] = set()
    for fault in faults:
        top, *below = fault.pointer.removeprefix("/").split("/")
        field = sound.get(top)
        if below and top == "video" and isinstance(field, dict):
            field.pop(below[0], None)
            dropped.add(f"/video/{below[0]}")
        elif below and top == "score_with" and isinstance(field, list):
            # The others keep their places.
            field[int(below[0])] = _ABSENT
            dropped.add(f"/score_with/{below[0]}")
        else:
            sound.pop(top, None)
            dropped.add(f"/{top}")
    if "prompt" not in sound:
        sound["prompt"] = _ABSENT
    return GenerationSpec.model_validate(sound), dropped


def _resolved(
    spec: GenerationSpec, catalogue: Catalogue, origin: AdapterOrigin | None
) -> GenerationSpec:
    """`spec` with every default filled in and names completed. Raises `InvalidSpec`."""
    faults = [*_origin_faults(spec, origin), *_seed_faults(spec), *_adapter_faults(spec)]
    faults += _score_faults(spec, catalogue)
    name = spec.base_model if origin is None else origin.base_model
    row = None if name is None else find_row(name, catalogue.base_models)
    if name is not None and row is None:
        faults.append(unknown_row("base model", name, catalogue.base_models, "/base_model"))
    if row is None:
        raise InvalidSpec(faults)
    variant = spec.variant if origin is None else origin.variant
    video = _video(with_defaults(spec.video, row, variant), spec)
    faults += missing_weights(row, "base model", "/base_model")
    faults += variant_faults(variant, spec.video, row)
    faults += size_faults(video, row) + step_faults(video, row) + _image_faults(spec, row)
    faults += _frame_faults(spec, video, catalogue)
    if faults:
        raise InvalidSpec(faults)
    return spec.model_copy(
        update={
            "adapter_scale": _scale(spec),
            "base_model": f"{row.id}@{row.version}",
            "variant": variant,
            "negative_prompt": None,
            "seed": None,
            "num_videos": None,
            "seeds": spec.every_seed,
            "video": video,
            "score_with": [_with_version(one, catalogue) for one in spec.rewards],
        }
    )


def _scale(spec: GenerationSpec) -> float | None:
    if spec.adapter is None:
        return None
    return 1.0 if spec.adapter_scale is None else spec.adapter_scale


def _video(video: Video, spec: GenerationSpec) -> Video:
    if spec.negative_prompt is None:
        return video
    return video.model_copy(update={"negative_prompt": spec.negative_prompt})


def _with_version(one: ScoreWith, catalogue: Catalogue) -> ScoreWith:
    row = find_row(one.reward, catalogue.rewards)
    return one.model_copy(update={"reward": f"{row.id}@{row.version}"}) if row else one


def _origin_faults(spec: GenerationSpec, origin: AdapterOrigin | None) -> list[Fault]:
    """Base model and variant have to be those that the adapter was trained on."""
    if origin is None:
        if spec.base_model is None:
            detail = "Give the `adapter` or the `base_model` that makes the videos."
            missing = Fault(pointer="/base_model", code="missing", detail=detail)
            return resting_on([missing], "/adapter")
        return []
    faults = []
    row_id, _, version = origin.base_model.partition("@")
    if spec.base_model not in {None, row_id, f"{row_id}@{version}"}:
        detail = f"The adapter was trained on {origin.base_model}; got {spec.base_model!r}."
        fault = Fault(
            pointer="/base_model",
            code="other_base_model",
            detail=detail,
            nearest=[origin.base_model],
        )
        faults.append(fault)
    if spec.variant not in {None, origin.variant}:
        detail = f"The adapter was trained on the variant {origin.variant!r}; got {spec.variant!r}."
        faults.append(Fault(pointer="/variant", code="other_variant", detail=detail))
    return faults


def _seed_faults(spec: GenerationSpec) -> list[Fault]:
    if spec.seeds is None:
        return []
    faults = [
        Fault(pointer=f"/{name}", code="two_seeds", detail=f"Give `seeds` or `{name}`, not both.")
        for name in ("seed", "num_videos")
        if getattr(spec, name) is not None
    ]
    if len(set(spec.seeds)) < len(spec.seeds):
        detail = "A seed stands there twice: its videos would be the same."
        faults.append(Fault(pointer="/seeds", code="duplicate_seed", detail=detail))
    return faults


def _adapter_faults(spec: GenerationSpec) -> list[Fault]:
    """What makes sense with an adapter only, and a negative prompt that is given twice."""
    faults = []
    if spec.adapter is None and spec.adapter_scale is not None:
        detail = "Without an `adapter` there is nothing to scale."
        faults.append(Fault(pointer="/adapter_scale", code="no_adapter", detail=detail))
    if spec.adapter is None and spec.compare_with_base:
        detail = "Without an `adapter` the videos are the base model's own."
        faults.append(Fault(pointer="/compare_with_base", code="no_adapter", detail=detail))
    faults = resting_on(faults, "/adapter")
    if spec.negative_prompt is not None and spec.video.negative_prompt:
        detail = "Give it here or as `video.negative_prompt`, not both."
        faults.append(Fault(pointer="/negative_prompt", code="two_negative_prompts", detail=detail))
    return faults


def _image_faults(spec: GenerationSpec, row: BaseModelRow) -> list[Fault]:
    if (spec.image is not None) == row.needs_image:
        return []
    if row.needs_image:
        code, detail = "missing_image", f"{row.id} goes from a first image to a video: give one."
    else:
        code, detail = "image_not_used", f"{row.id} takes no first image."
    return [Fault(pointer="/image", code=code, detail=detail)]


def _score_faults(spec: GenerationSpec, catalogue: Catalogue) -> list[Fault]:
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for i, one in enumerate(spec.rewards):
        written_short = isinstance(spec.score_with[i], str)
        place = f"/score_with/{i}"
        pointer = place if written_short else f"{place}/reward"
        row = find_row(one.reward, catalogue.rewards)
        if row is None:
            faults.append(unknown_row("reward", one.reward, catalogue.rewards, pointer))
            continue
        if first.setdefault(row.id, i) != i:
            detail = f"{row.id} is already score_with/{first[row.id]}."
            faults.append(Fault(pointer=pointer, code="duplicate_reward", detail=detail))
        faults += missing_weights(row, "reward", pointer)
        faults += param_faults(one.params, row, place if written_short else f"{place}/params")
        faults += _use_faults(spec, row, pointer)
    return faults


def _use_faults(spec: GenerationSpec, row: RewardRow, pointer: str) -> list[Fault]:
    """Whether this reward can score these videos."""
    faults = []
    if row.needs_reference:
        detail = f"{row.id} compares a video with the base model's own, which only evaluations do."
        faults.append(Fault(pointer=pointer, code="needs_reference", detail=detail))
    if row.per == "group" and len(spec.every_seed) < 2:
        detail = f"{row.id} compares videos of one prompt: it needs at least 2 seeds."
        few = Fault(pointer=pointer, code="too_few_videos", detail=detail)
        faults += resting_on([few], "/seeds", "/seed", "/num_videos")
    wrong = target_fault(row, spec.target, of="this prompt", pointer="/target")
    return faults if wrong is None else [*faults, wrong]


def _frame_faults(spec: GenerationSpec, video: Video, catalogue: Catalogue) -> list[Fault]:
    """Rewards that need more frames than the video has."""
    frames = video.num_frames or 1
    rows = [(i, find_row(one.reward, catalogue.rewards)) for i, one in enumerate(spec.rewards)]
    return [
        Fault(
            pointer=f"/score_with/{i}",
            code="too_few_frames",
            detail=f"{row.id} needs at least {row.fewest_frames} frames; the video has {frames}.",
            rests_on=("/video/num_frames",),
        )
        for i, row in rows
        if row is not None and frames < row.fewest_frames
    ]
