"""Base models and rewards as clients see them: limits, defaults and parameters, never folders."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from api.schemas.shared import Page, Shape
from vader_core import weights_lock
from vader_core.catalogue import (
    BaseModelRow,
    Cost,
    RewardRow,
    SizeRule,
    Variant,
    VideoDefaults,
    Weights,
)
from vader_core.errors import WeightsUnreadable
from vader_core.memory_table import TrainingMemory, training_memory
from vader_core.spec import Adapter


class Steps(Shape):
    """Whole numbers from `minimum` to `maximum` of the form `multiple * k + offset`; where `values` holds
    some, these alone."""

    minimum: int
    maximum: int
    multiple: int
    offset: int
    values: list[int] = []


class Limits(Shape):
    """What `video` and `adapter` of a spec may say. Sizes in pixels."""

    width: Steps
    height: Steps
    num_frames: Steps
    adapter_rank: Steps


class Origin(Shape):
    """Where weights come from: a hub repository and the commit that is used, or this service itself.

    `revision` is "built-in" for weights that come with the service, and "unpinned" until the operator's
    first fetch decides. `installed` says whether jobs can use them now.
    """

    repo: str | None
    revision: str
    licence: str
    installed: bool


class VariantShape(Shape):
    """A few-step or guidance-distilled form of a base model, for a spec's `variant`."""

    title: str
    inference_steps: int
    guidance_scale: float
    weights: Origin


class BaseModelShape(Shape):
    """A video diffusion model that jobs can start from. With `needs_image` every prompt has a first image.

    `memory` is what training by `reward_gradient` takes on a GPU at the model's own size; null where it was
    not computed.
    """

    id: str
    object: Literal["base_model"] = "base_model"
    version: str
    name: str
    title: str
    family: str
    pipeline_class: str
    needs_image: bool
    weights: Origin
    source: str
    limits: Limits
    defaults: VideoDefaults
    variants: dict[str, VariantShape]
    default_target_modules: list[str]
    memory: TrainingMemory | None

    @staticmethod
    def of(row: BaseModelRow) -> BaseModelShape:
        return BaseModelShape(
            id=row.id,
            version=row.version,
            name=f"{row.id}@{row.version}",
            title=row.title,
            family=row.family,
            pipeline_class=row.pipeline_class,
            needs_image=row.needs_image,
            weights=_origin(row.weights, row.folder, licence=row.licence, installed=row.installed),
            source=row.source,
            limits=_limits(row.sizes),
            defaults=row.defaults,
            variants={name: _variant(row, variant) for name, variant in row.variants.items()},
            default_target_modules=row.lora_targets,
            memory=training_memory(row.id),
        )


class RewardShape(Shape):
    """A score of a video. Every one can be a guard; `differentiable` ones can be trained on by every method,
    black boxes by all but `reward_gradient`.

    One that `needs_reference` compares a video with the base model's own, and one `per` group the videos
    of a prompt: only evaluations have these, so they are guards and nothing else.

    `cost` is the size of the model and the work of one forward, of a frame or (`per` video) of a video.
    """

    id: str
    object: Literal["reward"] = "reward"
    version: str
    name: str
    title: str
    kind: str
    differentiable: bool
    per: Literal["frame", "video", "group"]
    direction: Literal["higher_is_better"] = "higher_is_better"
    range: tuple[float | None, float | None]
    objective: Literal["score", "log_score"]
    needs_target: bool
    needs_reference: bool
    targets: list[str]
    params_schema: dict[str, JsonValue]
    weights: Origin | None
    cost: Cost | None
    source: str

    @staticmethod
    def of(row: RewardRow) -> RewardShape:
        same = set(RewardShape.model_fields) - {"weights"}
        origin = None
        if row.weights is not None:
            origin = _origin(row.weights, row.folder, licence=row.licence, installed=row.installed)
        return RewardShape(
            **row.model_dump(include=same), name=f"{row.id}@{row.version}", weights=origin
        )


def _origin(weights: Weights, folder: Path | None, *, licence: str, installed: bool) -> Origin:
    return Origin(
        repo=weights.repo,
        revision=_revision(weights, folder),
        licence=licence,
        installed=installed,
    )


def _revision(weights: Weights, folder: Path | None) -> str:
    """What was fetched, or else what the catalogue pins."""
    try:
        return weights_lock.commit_of(weights, folder)
    except WeightsUnreadable:
        # Jobs are told of a broken lock; a list of what there is must not fail over it.
        return weights.pinned_as


def _variant(row: BaseModelRow, variant: Variant) -> VariantShape:
    own = variant.weights
    if own is None:
        origin = _origin(row.weights, row.folder, licence=variant.licence, installed=row.installed)
    else:
        folder = variant.file.parent if variant.file else None
        origin = _origin(own, folder, licence=variant.licence, installed=variant.installed)
    return VariantShape(
        title=variant.title,
        inference_steps=variant.inference_steps,
        guidance_scale=variant.guidance_scale,
        weights=origin,
    )


def _limits(rule: SizeRule) -> Limits:
    def side(exact: list[int]) -> Steps:
        return Steps(
            minimum=rule.min_pixels,
            maximum=rule.max_pixels,
            multiple=rule.multiple,
            offset=0,
            values=exact,
        )

    frames = Steps(
        minimum=rule.min_frames,
        maximum=rule.max_frames,
        multiple=rule.frames_multiple,
        offset=rule.frames_offset,
    )
    return Limits(
        width=side(rule.widths),
        height=side(rule.heights),
        num_frames=frames,
        adapter_rank=_rank_limits(),
    )


class BaseModelPage(Page[BaseModelShape]):
    """All base models."""


class RewardPage(Page[RewardShape]):
    """All rewards."""


def _rank_limits() -> Steps:
    """The bounds that the spec itself sets."""
    bounds = Adapter.model_json_schema()["properties"]["rank"]
    return Steps(minimum=bounds["minimum"], maximum=bounds["maximum"], multiple=1, offset=0)
