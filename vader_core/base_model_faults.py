"""What is wrong with a spec by its base model: variant, first images, sizes, steps. Free of torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from pydantic import JsonValue

from vader_core.catalogue import BaseModelRow, Variant
from vader_core.faults import Fault, not_in_set
from vader_core.row_faults import WEIGHTS_NOT_INSTALLED
from vader_core.spec import JobSpec, Prompt, Video


def variant_faults(name: str | None, video: Video, row: BaseModelRow) -> list[Fault]:
    """What is wrong with the variant `name`, and with the settings `video` as they were asked for."""
    if name is None:
        return []
    variant = row.variants.get(name)
    if variant is None:
        known = sorted(row.variants)
        legal = f"Known: {', '.join(known)}." if known else "It has none."
        return [
            Fault(
                pointer="/variant",
                code="unknown_variant",
                detail=f"{row.id} has no variant {name!r}. {legal}",
                nearest=list(difflib.get_close_matches(name, known, n=3, cutoff=0.4)),
            )
        ]
    faults = _variant_setting_faults(name, video, variant)
    if not variant.installed:
        detail = (
            f"The weights of the variant {name} are not installed here. "
            f"An operator runs `python -m vader_core fetch {row.id} --variant {name}`."
        )
        faults.append(Fault(pointer="/variant", code=WEIGHTS_NOT_INSTALLED, detail=detail))
    return faults


def _variant_setting_faults(name: str, video: Video, variant: Variant) -> list[Fault]:
    """A distilled model is made for one number of steps and one guidance scale."""
    made_for = [
        ("inference_steps", video.inference_steps, variant.inference_steps),
        ("guidance_scale", video.guidance_scale, variant.guidance_scale),
    ]
    return [
        Fault(
            pointer=f"/video/{setting}",
            code="not_in_set",
            detail=f"The variant {name} is made for {setting} {legal:g}; got {asked:g}.",
            nearest=[legal],
        )
        for setting, asked, legal in made_for
        if asked is not None and asked != legal
    ]


def image_faults(spec: JobSpec, row: BaseModelRow, prompts: list[Prompt]) -> list[Fault]:
    """Image-to-video needs a first image for every prompt; other base models have no use for one."""
    inline = spec.prompts.inline is not None
    wrong = [
        (i, prompt)
        for i, prompt in enumerate(prompts)
        if (prompt.image is not None) != row.needs_image
    ]
    code = "missing_image" if row.needs_image else "image_not_used"
    need = "needs a first image for every prompt" if row.needs_image else "takes no first image"
    return [
        Fault(
            pointer=f"/prompts/inline/{i}/image" if inline else "/prompts/prompt_set",
            code=code,
            detail=f"{row.id} {need}; prompt {i} ({prompt.prompt!r}) has {prompt.image!r}.",
        )
        for i, prompt in wrong
    ]


def size_faults(video: Video, row: BaseModelRow) -> list[Fault]:
    rule = row.sizes
    checks: list[tuple[str, int | None, list[int], str]] = [
        ("width", video.width, rule.sides(rule.widths), rule.sides_text(rule.widths)),
        ("height", video.height, rule.sides(rule.heights), rule.sides_text(rule.heights)),
        ("num_frames", video.num_frames, rule.frames(), rule.frames_text()),
    ]
    faults = [
        Fault(
            pointer=f"/video/{field}",
            code="not_in_set",
            detail=f"{row.id} needs {legal_text}; got {value}.",
            nearest=list(sorted(legal, key=_distance_to(value))[:2]),
        )
        for field, value, legal, legal_text in checks
        if value is not None and value not in legal
    ]
    return faults or _pair_faults(video, row)


def _pair_faults(video: Video, row: BaseModelRow) -> list[Fault]:
    """Where width and height must go together; the nearest are those of the most similar shape."""
    width, height = video.width or 0, video.height or 0
    pairs = row.sizes.pairs
    if not pairs or (width, height) in pairs:
        return []
    near = sorted(pairs, key=lambda pair: abs(math.log(pair[0] * height / (pair[1] * width))))[:3]
    shown = ", ".join(f"{wide}x{high}" for wide, high in near)
    detail = (
        f"{row.id} makes only some pairs of width and height; got {width}x{height}. "
        f"The nearest in shape: {shown}."
    )
    nearest: list[JsonValue] = [[wide, high] for wide, high in near]
    return [Fault(pointer="/video/width", code="not_in_set", detail=detail, nearest=nearest)]


def _distance_to(value: int) -> Callable[[int], int]:
    return lambda legal: abs(legal - value)


def step_faults(video: Video, row: BaseModelRow) -> list[Fault]:
    steps = video.inference_steps or 1
    if steps >= row.min_steps:
        return []
    detail = f"{row.id} takes at least {row.min_steps} inference steps; got {steps}."
    return [not_in_set("/video/inference_steps", detail, row.min_steps)]
