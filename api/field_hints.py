"""What a client may have meant by a field that does not exist at the top of a request for a job."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from api.schemas.job_requests import JobFromSpec
from vader_core.faults import Fault

_ALIKE = 0.75
_OF_A_LEVEL = 0.1
_SHORTEST_WORD = 4
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def with_hint(fault: Fault) -> Fault:
    """`fault`, told with the field that is meant where it is of an unknown field of the top level."""
    name = fault.pointer.removeprefix("/")
    if fault.code != "unknown_field" or "/" in name:
        return fault
    meant = _meant(name)
    hint = "" if meant is None else f" Did you mean '{meant}'?"
    return fault.model_copy(update={"detail": f"Unknown field.{hint}"})


def _meant(name: str) -> str | None:
    """The dotted path of the field most like `name`: by its letters, else by a word they share."""
    words = [word.lower() for word in _WORDS.findall(name)]
    likeness = {path: _likeness("_".join(words), path) for path in _paths()}
    best = max(likeness, key=likeness.__getitem__)
    if likeness[best] >= _ALIKE:
        return best
    for word in words:
        sharing = [path for path in _paths() if word in _stems(path)]
        if len(word) >= _SHORTEST_WORD and sharing:
            return max(sharing, key=likeness.__getitem__)
    return None


def _likeness(name: str, path: str) -> float:
    """From 0 to 1, less the deeper the field lies."""
    leaf = path.rpartition(".")[2]
    return difflib.SequenceMatcher(None, name, leaf).ratio() - _OF_A_LEVEL * path.count(".")


def _stems(path: str) -> set[str]:
    words = path.rpartition(".")[2].split("_")
    return {*words, *(word.removesuffix("s") for word in words)}


@cache
def _paths() -> tuple[str, ...]:
    """Every field of a request for a job, with those of its objects."""
    return tuple(_fields_of(JobFromSpec))


def _fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    below: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        below += [(f"{prefix}{name}.", part) for part in _models_in(field.annotation)]
    seen: set[str] = set()
    for path, part in below:
        # Methods share settings.
        fresh = [name for name in _fields_of(part, path) if name not in seen]
        seen.update(fresh)
        yield from fresh


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold, but for those in its lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif getattr(annotation, "__origin__", None) not in {list, dict, tuple}:
        for part in get_args(annotation):
            yield from _models_in(part)
