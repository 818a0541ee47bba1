"""Faults of a document that was merged from two, told with pointers into the one that the client sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from domain.merge_patch import gives
from vader_core.faults import Fault


def as_sent(
    faults: Iterable[Fault], *, patch: JsonValue, at: str, otherwise: str, whose: str
) -> Iterator[Fault]:
    """`faults` of what `patch` was merged into, the patch standing at the pointer `at` of the request.

    What the patch did not give is told at the pointer `otherwise`, with its own place in the detail;
    `whose` says of what that is a place, such as "the template's spec".
    """
    for fault in faults:
        if gives(patch, _names(fault.pointer)):
            yield fault.model_copy(update={"pointer": f"{at}{fault.pointer}"})
        else:
            place = fault.pointer or "its top"
            detail = f"At {place} of {whose}: {fault.detail}"
            yield fault.model_copy(update={"pointer": otherwise, "detail": detail})


def _names(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
