"""Base models, rewards, methods, uploads and scorings as text for a person."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import JsonValue
from rich.console import Console

from client.models import BaseModelInfo, MethodInfo, Origin, RewardInfo, Scoring, Upload
from client.show.tables import show_lines, show_table

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def show_base_models(console: Console, found: Sequence[BaseModelInfo]) -> None:
    """A table."""
    rows = [
        (
            one.id,
            "image" if one.needs_image else "text",
            _size(one.defaults),
            _installed(one.weights),
            one.title,
        )
        for one in found
    ]
    show_table(console, ("base model", "from", "default size", "installed", "title"), rows)


def show_base_model(console: Console, found: BaseModelInfo) -> None:
    """One base model in some lines."""
    lines = [
        f"{found.name}  {found.title}",
        f"from        {'a first image and a prompt' if found.needs_image else 'a prompt'}",
        *(f"{name:<11} {_legal(found.limits.get(name))}" for name in found.limits),
        f"defaults    {_pairs(found.defaults)}",
        *(f"variant     {name}: {_title(variant)}" for name, variant in found.variants.items()),
        *_origin_lines(found.weights),
    ]
    show_lines(console, [*lines, f"source      {found.source}"] if found.source else lines)


def show_rewards(console: Console, found: Sequence[RewardInfo]) -> None:
    """A table."""
    rows = [
        (
            one.id,
            one.per,
            "yes" if one.differentiable else "no",
            _range(one.range),
            "yes" if one.weights is None else _installed(one.weights),
            one.title,
        )
        for one in found
    ]
    show_table(console, ("reward", "per", "gradient", "range", "installed", "title"), rows)


def show_reward(console: Console, found: RewardInfo) -> None:
    """One reward in some lines."""
    properties = found.params_schema.get("properties")
    params = properties if isinstance(properties, dict) else {}
    lines = [
        f"{found.name}  {found.title}",
        f"per         {found.per}",
        f"gradient    {'yes' if found.differentiable else 'no'}",
        f"range       {_range(found.range)}, higher is better",
    ]
    if found.needs_target:
        lines.append(f"targets     {', '.join(found.targets) or 'any label of the model'}")
    lines += [f"param       {name}: {json.dumps(schema)}" for name, schema in params.items()]
    lines += [] if found.weights is None else _origin_lines(found.weights)
    show_lines(console, [*lines, f"source      {found.source}"] if found.source else lines)


def show_methods(console: Console, found: Sequence[MethodInfo]) -> None:
    """A table."""
    rows = [(one.id, _rewards_taken(one), one.summary) for one in found]
    show_table(console, ("method", "rewards", "summary"), rows)


def show_method(console: Console, found: MethodInfo) -> None:
    """One method in some lines, its settings in a table."""
    lines = [
        f"{found.id}  {found.title}",
        found.summary,
        f"rewards     {_rewards_taken(found)}",
        *([f"paper       {found.paper}"] if found.paper else []),
    ]
    show_lines(console, lines)
    show_lines(console, _setting_lines(found.settings_schema, found.settings_schema))


def _setting_lines(
    schema: dict[str, JsonValue], whole: dict[str, JsonValue], above: str = ""
) -> list[str]:
    """Two lines a setting: its default and what it takes, and what it means; its parts below it."""
    properties = schema.get("properties")
    lines: list[str] = []
    for name, setting in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(setting, dict) or name == "type":
            continue
        default = f"default {json.dumps(setting['default'])}" if "default" in setting else "needed"
        lines.append(f"{above}{name}: {default}; {_kind(setting)}")
        lines += [f"    {setting['description']}"] if "description" in setting else []
        part = _part(setting, whole)
        lines += [] if part is None else _setting_lines(part, whole, f"{above}{name}.")
    return lines


def _part(
    setting: dict[str, JsonValue], whole: dict[str, JsonValue]
) -> dict[str, JsonValue] | None:
    """The schema that `setting`, or one of its options, refers to in `whole`."""
    options, named = setting.get("anyOf"), whole.get("$defs")
    for option in [setting, *(options if isinstance(options, list) else [])]:
        reference = option.get("$ref") if isinstance(option, dict) else None
        if isinstance(reference, str) and isinstance(named, dict):
            part = named.get(reference.rpartition("/")[2])
            return part if isinstance(part, dict) else None
    return None


def _rewards_taken(method: MethodInfo) -> str:
    return "differentiable" if method.needs_differentiable_reward else "any"


def _kind(schema: dict[str, JsonValue]) -> str:
    """What a JSON Schema allows, in short."""
    choices = schema.get("enum")
    if isinstance(choices, list):
        return ", ".join(str(choice) for choice in choices)
    options = schema.get("anyOf")
    if isinstance(options, list):
        return " or ".join(_kind(option) for option in options if isinstance(option, dict))
    bounds = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    name = str(schema.get("$ref", schema.get("type", ""))).rpartition("/")[2]
    return " ".join([name, ", ".join(bounds)]).strip()


def show_uploads(console: Console, found: Sequence[Upload]) -> None:
    """A table."""
    rows = [
        (
            one.id,
            one.name,
            one.content_type,
            f"{one.size_bytes:,}",
            f"{one.created_at:%Y-%m-%d %H:%M}",
        )
        for one in found
    ]
    show_table(console, ("upload", "name", "type", "bytes", "created"), rows)


def show_scoring(console: Console, scoring: Scoring, *, names: Sequence[str]) -> None:
    """A row for each video, by the names it has here."""
    reward = scoring.reward
    head = f"{scoring.id}  {reward.name}, per {reward.per}, range {_range(reward.range)}"
    if scoring.error is not None:
        error = scoring.error
        hint = [f"hint        {error.hint}"] if error.hint else []
        show_lines(console, [head, f"failed      {error.code}: {error.message}", *hint])
        return
    show_lines(console, [head])
    rows = [
        (
            name,
            "-" if video.score is None else f"{video.score:.4f}",
            video.prompt
            if video.reason is None
            else f"{video.reason.code}: {video.reason.message}",
        )
        for name, video in zip(names, scoring.videos, strict=True)
    ]
    show_table(console, ("video", "score", "prompt"), rows)
    if scoring.seconds is not None:
        show_lines(console, [f"{scoring.seconds:.1f} s"])


def _size(defaults: dict[str, JsonValue]) -> str:
    return f"{defaults.get('width')}x{defaults.get('height')}, {defaults.get('num_frames')} frames"


def _legal(rule: JsonValue) -> str:
    if not isinstance(rule, dict):
        return "-"
    if rule.get("values"):
        return _pairs({"one of": rule["values"]})
    form = f", {rule.get('multiple')}k+{rule.get('offset')}" if rule.get("multiple") != 1 else ""
    return f"{rule.get('minimum')} to {rule.get('maximum')}{form}"


def _pairs(values: dict[str, JsonValue]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in values.items())


def _title(variant: object) -> str:
    return str(getattr(variant, "title", ""))


def _range(bounds: tuple[float | None, float | None]) -> str:
    low, high = bounds
    return f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"


def _installed(origin: Origin) -> str:
    return "yes" if origin.installed else "no"


def _origin_lines(origin: Origin) -> list[str]:
    place = origin.repo or "of this service"
    revision = f" at {origin.revision}" if origin.repo and origin.revision else ""
    return [
        f"weights     {place}{revision}, {'installed' if origin.installed else 'not installed'}",
        f"licence     {origin.licence or '-'}",
    ]
