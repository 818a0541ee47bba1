"""Faults of a spec, with pointers, and what can still be checked of a faulty one. Free of torch."""

from __future__ import annotations

import copy
import difflib

from pydantic import JsonValue, ValidationError

from vader_core.spec import JobSpec, Strict


class Fault(Strict):
    """One thing that is wrong with a spec. `pointer` is an RFC 6901 JSON Pointer into it.

    `nearest` holds the legal values closest to what was given, where there are such.
    """

    pointer: str
    code: str
    detail: str
    nearest: list[JsonValue] = []


class InvalidSpec(Exception):
    """A spec has faults; `faults` holds all of them."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults)


def shape_faults(error: ValidationError) -> list[Fault]:
    """Pydantic's findings as faults; an unknown field is told which known field it resembles."""
    return [
        Fault(
            pointer="".join(f"/{escaped(part)}" for part in found["loc"]),
            code="unknown_field" if found["type"] == "extra_forbidden" else found["type"],
            detail=_shape_detail(found["type"], found["msg"], found["loc"]),
        )
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def escaped(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _shape_detail(kind: str, message: str, location: tuple[int | str, ...]) -> str:
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    near = difflib.get_close_matches(str(location[-1]), _field_names(), n=1, cutoff=0.7)
    return "Unknown field." + (f" Did you mean '{near[0]}'?" if near else "")


def _field_names() -> list[str]:
    return sorted({name for model in Strict.__subclasses__() for name in model.model_fields})


_STAND_INS: dict[str, JsonValue] = {
    "base_model": "",
    "rewards": [{"reward": ""}],
    "prompts": {"inline": [{"prompt": "stands in"}]},
    "budget": {"max_steps": 1},
}


def salvage(document: JsonValue, error: ValidationError) -> tuple[JobSpec, set[str]] | None:
    """A spec of the sound top-level fields of `document`, and the names of those that were not.

    Unknown fields are dropped; any other faulty top-level field gives way to its default or, where it
    has none, to a stand-in, whose own faults mean nothing. None where nothing can be saved.
    """
    if not isinstance(document, dict):
        return None
    sound = copy.deepcopy(document)
    faulty: set[str] = set()
    for found in error.errors(include_url=False):
        *path, leaf = found["loc"] or ("",)
        if found["type"] == "extra_forbidden":
            _drop(sound, path, str(leaf))
        elif found["loc"]:
            faulty.add(str(found["loc"][0]))
    for name in faulty:
        sound.pop(name, None)
        if name in _STAND_INS:
            sound[name] = _STAND_INS[name]
    try:
        return JobSpec.model_validate(sound), faulty
    except ValidationError:
        return None


def _drop(document: JsonValue, path: list[int | str], leaf: str) -> None:
    for part in path:
        if isinstance(document, dict):
            document = document.get(str(part))
        elif isinstance(document, list):
            document = document[int(part)]
    if isinstance(document, dict):
        document.pop(leaf, None)
