"""Job files: YAML or JSON, read as JSON values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from client.errors import FileUnusable


class _JsonLoader(yaml.SafeLoader):
    """YAML without dates: JSON has none, and the service reads them from text."""

    yaml_implicit_resolvers = {
        first: [pair for pair in resolvers if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_job(path: Path) -> dict[str, JsonValue]:
    """The job spec in the file, `-` for stdin. Only its being an object is checked here.

    Raises `FileUnusable`.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        # A loader that makes nothing but plain values.
        document: Any = yaml.load(text, _JsonLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnusable(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise FileUnusable(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise FileUnusable(f"{path} must hold an object with base_model, rewards, prompts, budget.")
    return document
