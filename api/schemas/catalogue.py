"""Base models and rewards as clients see them: limits, defaults and parameters, never folders."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from api.schemas.shared import Page, Shape
from vader_core.catalogue import BaseModelRow, RewardRow, VideoDefaults
from vader_core.spec import Adapter


class Steps(Shape):
    """Whole numbers from `minimum` to `maximum` of the form `multiple * k + offset`."""

    minimum: int
    maximum: int
    multiple: int
    offset: int


class Limits(Shape):
    """What `video` and `adapter` of a spec may say. Sizes in pixels."""

    width: Steps
    height: Steps
    num_frames: Steps
    adapter_rank: Steps


class BaseModelShape(Shape):
    """A video diffusion model that jobs can start from."""

    id: str
    object: Literal["base_model"] = "base_model"
    version: str
    name: str
    title: str
    family: str
    revision: str
    licence: str
    limits: Limits
    defaults: VideoDefaults
    default_target_modules: list[str]

    @staticmethod
    def of(row: BaseModelRow) -> BaseModelShape:
        rule = row.sizes
        side = Steps(
            minimum=rule.min_pixels, maximum=rule.max_pixels, multiple=rule.multiple, offset=0
        )
        frames = Steps(
            minimum=rule.min_frames,
            maximum=rule.max_frames,
            multiple=rule.frames_multiple,
            offset=rule.frames_offset,
        )
        return BaseModelShape(
            id=row.id,
            version=row.version,
            name=f"{row.id}@{row.version}",
            title=row.title,
            family=row.family,
            revision=row.revision,
            licence=row.licence,
            limits=Limits(width=side, height=side, num_frames=frames, adapter_rank=_rank_limits()),
            defaults=row.defaults,
            default_target_modules=row.lora_targets,
        )


class RewardShape(Shape):
    """A score of a video; `differentiable` ones can be trained on, every one can be a guard."""

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
    targets: list[str]
    params_schema: dict[str, JsonValue]
    revision: str
    licence: str

    @staticmethod
    def of(row: RewardRow) -> RewardShape:
        shown = row.model_dump(exclude={"folder"})
        return RewardShape(**shown, name=f"{row.id}@{row.version}")


class BaseModelPage(Page[BaseModelShape]):
    """All base models."""


class RewardPage(Page[RewardShape]):
    """All rewards."""


def _rank_limits() -> Steps:
    """The bounds that the spec itself sets."""
    bounds = Adapter.model_json_schema()["properties"]["rank"]
    return Steps(minimum=bounds["minimum"], maximum=bounds["maximum"], multiple=1, offset=0)
