"""Base models, rewards, uploads and scorings as text for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.models import BaseModelInfo, Origin, RewardInfo, Scoring, Upload


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
    _table(console, ("base model", "from", "default size", "installed", "title"), rows)


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
    _lines(console, [*lines, f"source      {found.source}"] if found.source else lines)


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
    _table(console, ("reward", "per", "gradient", "range", "installed", "title"), rows)


def show_reward(console: Console, found: RewardInfo) -> None:
    """One reward in some lines."""
    properties = found.params_schema.get("properties")
    params = properties if isinstance(properties, dict) else {}
    lines = [
        f"{found.name}  {found.title}",
        f"per         {found.per}",
        f"gradient    {'yes' if found.differentiable else 'no: it can be a guard'}",
        f"range       {_range(found.range)}, higher is better",
    ]
    if found.needs_target:
        lines.append(f"targets     {', '.join(found.targets) or 'any label of the model'}")
    lines += [f"param       {name}: {json.dumps(schema)}" for name, schema in params.items()]
    lines += [] if found.weights is None else _origin_lines(found.weights)
    _lines(console, [*lines, f"source      {found.source}"] if found.source else lines)


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
    _table(console, ("upload", "name", "type", "bytes", "created"), rows)


def show_scoring(console: Console, scoring: Scoring, *, names: Sequence[str]) -> None:
    """A row for each video, by the names it has here."""
    reward = scoring.reward
    head = f"{scoring.id}  {reward.name}, per {reward.per}, range {_range(reward.range)}"
    if scoring.error is not None:
        error = scoring.error
        hint = [f"hint        {error.hint}"] if error.hint else []
        _lines(console, [head, f"failed      {error.code}: {error.message}", *hint])
        return
    _lines(console, [head])
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
    _table(console, ("video", "score", "prompt"), rows)
    if scoring.seconds is not None:
        _lines(console, [f"{scoring.seconds:.1f} s"])


def _table(console: Console, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=title != titles[-1])
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _lines(console: Console, lines: Sequence[str]) -> None:
    console.print(Text("\n".join(lines)), soft_wrap=True, highlight=False)


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
