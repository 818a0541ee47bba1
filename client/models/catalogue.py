"""What jobs can be made of."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from client.models.shared import Answer


class Origin(Answer):
    """Where weights come from, and whether the service has them."""

    repo: str | None = None
    revision: str = ""
    licence: str = ""
    installed: bool


class BaseModelInfo(Answer):
    """A base model that jobs may start from; `limits` and `defaults` say what `video` may be."""

    id: str
    name: str
    title: str
    family: str
    needs_image: bool
    weights: Origin
    limits: dict[str, JsonValue]
    defaults: dict[str, JsonValue]
    variants: dict[str, Answer] = {}
    source: str = ""


class RewardInfo(Answer):
    """A reward; all can be guards and be tried. The methods say which they can train on."""

    id: str
    name: str
    title: str
    kind: str
    differentiable: bool
    per: Literal["frame", "video", "group"]
    range: tuple[float | None, float | None]
    needs_target: bool
    targets: list[str] = []
    params_schema: dict[str, JsonValue] = {}
    weights: Origin | None = None
    source: str = ""


class MethodInfo(Answer):
    """A way to train; `settings_schema` is the JSON Schema of a spec's `method`, with defaults."""

    id: str
    title: str
    summary: str
    needs_differentiable_reward: bool
    settings_schema: dict[str, JsonValue]
    paper: str = ""
