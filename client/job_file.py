"""Job files: YAML or JSON, read as JSON values; first images that they name as local files are uploaded."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from client.errors import FileUnusable

_UPLOAD = "upl_"


class _JsonLoader(yaml.SafeLoader):
    """YAML without dates: JSON has none, and the service reads them from text."""

    yaml_implicit_resolvers = {
        first: [pair for pair in resolvers if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_job(path: Path) -> dict[str, JsonValue]:
    """The YAML or JSON object in the file, `-` for stdin; what is in it is the service's to check.

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
        raise FileUnusable(f"{path} must hold an object: names with values.")
    return document


def uploaded(
    document: dict[str, JsonValue], *, folder: Path, upload: Callable[[Path], str]
) -> dict[str, JsonValue]:
    """`document` with the inline prompts' first images, where they are local files, given as uploads.

    Paths are relative to `folder`; `upload` gives a file's id and is called once a file. Names that begin
    with upl_ are uploads already. Raises `FileUnusable` for a file that is not there, before any upload.
    """
    made = copy.deepcopy(document)
    prompts = made.get("prompts")
    inline = prompts.get("inline") if isinstance(prompts, dict) else None
    named = [
        (prompt, folder / image)
        for prompt in (inline if isinstance(inline, list) else [])
        if isinstance(prompt, dict)
        and isinstance(image := prompt.get("image"), str)
        and not image.startswith(_UPLOAD)
    ]
    for _, path in named:
        if not path.is_file():
            raise FileUnusable(f"The first image {path} is no file, and no upload's id either.")
    ids: dict[Path, str] = {}
    for prompt, path in named:
        if path not in ids:
            ids[path] = upload(path)
        prompt["image"] = ids[path]
    return made
