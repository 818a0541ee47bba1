"""What commands take as text: `NAME=VALUE` (fields by dotted names, labels) and amounts of money."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import typer
from pydantic import JsonValue

AMOUNT = "'AMOUNT[ CURRENCY]'"


def pairs(given: Sequence[str] | None, *, option: str) -> dict[str, str]:
    """NAME=TEXT each."""
    return dict(_split(text, option) for text in given or ())


def values(given: Sequence[str] | None, *, option: str) -> dict[str, JsonValue]:
    """NAME=VALUE each; a value is JSON where it can be, else text."""
    return {name: _value(text) for name, text in pairs(given, option=option).items()}


def placed(
    document: dict[str, JsonValue], given: Sequence[str] | None, *, option: str
) -> dict[str, JsonValue]:
    """`document` with every a.b.c=VALUE put into it, and objects made on the way."""
    made = copy.deepcopy(document)
    for name, value in values(given, option=option).items():
        *above, last = name.split(".")
        place: dict[str, Any] = made
        for part in above:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise typer.BadParameter(f"{part!r} of {name} holds no object", param_hint=option)
            place = inner
        place[last] = value
    return made


def money(text: str | None) -> dict[str, JsonValue] | None:
    """AMOUNT or "AMOUNT CURRENCY" as the API has it; the service says what it makes of it."""
    if text is None:
        return None
    amount, _, currency = text.strip().partition(" ")
    return {"amount": amount, **({"currency": currency.strip()} if currency else {})}


def _split(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint=option)
    return name, value


def _value(text: str) -> JsonValue:
    try:
        parsed: JsonValue = json.loads(text)
    except ValueError:
        return text
    return parsed
