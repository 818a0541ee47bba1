"""Faults of a spec, with pointers, and what can still be checked of a faulty one. Free of torch."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator

from pydantic import Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from vader_core.method_spec import GRADIENT_FREE, SETTINGS
from vader_core.spec import JobSpec
from vader_core.strict import Strict


class Fault(Strict):
    """One thing that is wrong with a spec. `pointer` is an RFC 6901 JSON Pointer into it.

    `nearest` holds the legal values closest to what was given, where there are such. `line` (from 1) and
    `byte_offset` tell where it stands in a body that is read by lines. `rests_on` are
    pointers to what else the fault is about: it says nothing where one of them is faulty itself.
    """

    pointer: str
    code: str
    detail: str
    nearest: list[JsonValue] = []
    line: int | None = None
    byte_offset: int | None = None
    rests_on: tuple[str, ...] = Field(default=(), exclude=True, repr=False)

    def means_something(self, dropped: Iterable[str]) -> bool:
        """Whether it still holds of a spec whose fields at the pointers `dropped` were replaced."""
        return not any(
            _within(self.pointer, place)
            or any(_within(other, place) or _within(place, other) for other in self.rests_on)
            for place in dropped
        )


def _within(pointer: str, place: str) -> bool:
    return pointer == place or pointer.startswith(f"{place}/")


def not_in_set(pointer: str, detail: str, *nearest: JsonValue) -> Fault:
    """The fault of a value that is none of the legal ones."""
    return Fault(pointer=pointer, code="not_in_set", detail=detail, nearest=list(nearest))


def resting_on(faults: Iterable[Fault], *places: str) -> list[Fault]:
    """`faults` that mean something only where the fields at the pointers `places` are sound."""
    return [fault.model_copy(update={"rests_on": (*fault.rests_on, *places)}) for fault in faults]


class InvalidSpec(Exception):
    """A spec has faults; `faults` holds all of them."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults)


def shape_faults(error: ValidationError, document: JsonValue) -> list[Fault]:
    """Pydantic's findings in `document` as faults; an unknown field is told which known field it resembles."""
    return [
        _shape_fault(found, document)
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _shape_fault(found: ErrorDetails, document: JsonValue) -> Fault:
    place = _place(found, document)
    pointer = "".join(f"/{escaped(part)}" for part in place)
    if found["type"] == "union_tag_invalid":
        return _unknown_method(document, f"{pointer}/type")
    if found["type"] == "extra_forbidden":
        return Fault(pointer=pointer, code="unknown_field", detail=_unknown_field(place, document))
    detail = found["msg"].removeprefix("Value error, ")
    if pointer == "/method" and isinstance(document, dict) and "method" in document:
        detail = _method_advice(document["method"]) or detail
    return Fault(pointer=pointer, code=found["type"], detail=detail)


def _method_advice(written: JsonValue) -> str | None:
    """How to write a method that is not written as an object."""
    if isinstance(written, dict):
        return None
    near = difflib.get_close_matches(written, SETTINGS, n=1) if isinstance(written, str) else []
    name = near[0] if near else next(iter(SETTINGS))
    return f'A method is an object with its settings: write {{"type": "{name}"}}.'


def _place(found: ErrorDetails, document: JsonValue) -> list[int | str]:
    """The way to the fault through `document`; pydantic's own also names the members of unions."""
    place: list[int | str] = []
    for i, part in enumerate(found["loc"], start=1):
        if isinstance(document, dict) and part in document:
            document = document[str(part)]
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        elif found["type"] != "missing" or i < len(found["loc"]):
            continue
        place.append(part)
    return place


def escaped(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def named_method(document: JsonValue) -> JsonValue:
    """What `document` says for the method's type; one that says nothing means reward_gradient."""
    method = document.get("method", {}) if isinstance(document, dict) else {}
    return method.get("type", "reward_gradient") if isinstance(method, dict) else None


def _unknown_method(document: JsonValue, pointer: str) -> Fault:
    named = named_method(document)
    return Fault(
        pointer=pointer,
        code="unknown_method",
        detail=f"There is no method {named!r}. Known: {', '.join(SETTINGS)}.",
        nearest=[*difflib.get_close_matches(str(named), SETTINGS, n=2, cutoff=0.4)],
    )


def _unknown_field(place: list[int | str], document: JsonValue) -> str:
    name = str(place[-1])
    owners = [method for method, known in SETTINGS.items() if name in known.model_fields]
    if place[:-1] == ["method"] and owners:
        return f"{named_method(document)} has no such setting; it belongs to {', '.join(owners)}."
    near = difflib.get_close_matches(name, sorted(_field_names(Strict)), n=1, cutoff=0.7)
    return "Unknown field." + (f" Did you mean '{near[0]}'?" if near else "")


def _field_names(model: type[Strict]) -> Iterator[str]:
    """Of all models that derive from `model`."""
    for derived in model.__subclasses__():
        yield from derived.model_fields
        yield from _field_names(derived)


_STAND_INS: dict[str, JsonValue] = {
    "base_model": "",
    "rewards": [{"reward": ""}],
    "prompts": {"inline": [{"prompt": "stands in"}]},
    "budget": {"max_steps": 1},
}


def salvage(document: JsonValue, error: ValidationError) -> tuple[JobSpec, set[str]] | None:
    """A spec of what is sound in `document`, and the pointers of what was not.

    Unknown fields are dropped. Any other faulty setting gives way to its default; where it has none,
    the whole top-level field gives way to a stand-in. None where nothing can be saved.
    """
    if not isinstance(document, dict):
        return None
    sound = copy.deepcopy(document)
    dropped: set[str] = set()
    for found in error.errors(include_url=False):
        place = _place(found, document)
        if found["type"] == "extra_forbidden":
            _drop(sound, place)
        elif _is_setting(place):
            # A setting's own parts make sense only together.
            place = place[: 3 if isinstance(place[1], int) else 2]
            _drop(sound, place)
            dropped.add("".join(f"/{escaped(part)}" for part in place))
        elif place:
            _replace(sound, str(place[0]), document)
            dropped.add(f"/{escaped(place[0])}")
    try:
        return JobSpec.model_validate(sound), dropped
    except ValidationError as left:
        # What was dropped has no default.
        names = {str(found["loc"][0]) for found in left.errors() if found["loc"]}
    for name in names:
        _replace(sound, name, document)
    try:
        return JobSpec.model_validate(sound), dropped | {f"/{escaped(name)}" for name in names}
    except ValidationError:
        return None


def _is_setting(place: list[int | str]) -> bool:
    """Whether it can be left out by itself: all but a method's type and the parts of lists of lists."""
    if len(place) < 2 or place == ["method", "type"]:
        return False
    return isinstance(place[1], str) or len(place) > 2


def _replace(sound: dict[str, JsonValue], name: str, document: JsonValue) -> None:
    """The top-level field `name` gives way to its default or its stand-in."""
    sound.pop(name, None)
    if name in _STAND_INS:
        sound[name] = _STAND_INS[name]
    if name == "method":
        sound[name] = _method_stand_in(document)


def _method_stand_in(document: JsonValue) -> JsonValue:
    """The same method with its defaults; for an unknown one, one that every reward can be used by."""
    named = named_method(document)
    return {"type": named if isinstance(named, str) and named in SETTINGS else GRADIENT_FREE[0]}


def _drop(document: JsonValue, place: list[int | str]) -> None:
    *path, leaf = place
    for part in path:
        if isinstance(document, dict):
            document = document.get(str(part))
        elif isinstance(document, list):
            document = document[int(part)]
    if isinstance(document, dict):
        document.pop(str(leaf), None)
