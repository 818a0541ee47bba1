"""Job specs in files, YAML or JSON, read as JSON values. Free of torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from vader_core.errors import SpecUnusable

_YAML = frozenset({".yaml", ".yml"})


class _JsonLoader(yaml.SafeLoader):
    """YAML without dates: JSON has none, and specs have them as text."""

    yaml_implicit_resolvers = {
        first: [pair for pair in resolvers if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_spec(path: Path) -> JsonValue:
    """What the file holds; its name says whether that is YAML (.yaml, .yml) or JSON (all others).

    Only its being readable is checked here. Raises `SpecUnusable`.
    """
    form = "YAML" if path.suffix.lower() in _YAML else "JSON"
    try:
        text = path.read_text(encoding="utf-8")
        # A loader that makes nothing but plain values.
        document: Any = yaml.load(text, _JsonLoader) if form == "YAML" else json.loads(text)  # noqa: S506
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        raise SpecUnusable(
            f"{path} is not a readable {form} file: {error}", hint="Give the path of a job spec."
        ) from error
    value: JsonValue = document
    return value
