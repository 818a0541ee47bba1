"""Which changes break clients, on a small document of our own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.openapi.changes import breaking

THING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "size": {"type": "integer"},
        "state": {"$ref": "#/components/schemas/State"},
        "part": {"anyOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "null"}]},
    },
    "required": ["id", "size", "state", "part"],
}
WISH: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["size"],
}


def document() -> dict[str, Any]:
    def holds(name: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}

    return {
        "paths": {
            "/things": {
                "post": {
                    "operationId": "create",
                    "parameters": [{"in": "query", "name": "q", "schema": {"type": "string"}}],
                    "requestBody": {"required": True, "content": holds("Wish")},
                    "responses": {"202": {"content": holds("Thing")}, "422": {}},
                }
            }
        },
        "components": {
            "schemas": {
                "Thing": copy.deepcopy(THING),
                "Wish": copy.deepcopy(WISH),
                "State": {"type": "string", "enum": ["on", "off"]},
            }
        },
    }


Change = Callable[[dict[str, Any], dict[str, Any]], object]
BREAKING: dict[str, tuple[Change, str]] = {
    "an operation goes": (lambda d, s: d["paths"].clear(), "is gone"),
    "it is renamed": (lambda d, s: post(d).update(operationId="make"), "operationId was create"),
    "a parameter goes": (lambda d, s: post(d)["parameters"].clear(), "query q: is gone"),
    "a parameter is needed": (
        lambda d, s: post(d)["parameters"].append({"in": "header", "name": "k", "required": True}),
        "header k: is new and required",
    ),
    "a status goes": (lambda d, s: post(d)["responses"].pop("202"), "answers 202 no more"),
    "a field is needed": (lambda d, s: s["Wish"]["required"].append("kind"), "kind: is required"),
    "a field is refused": (lambda d, s: s["Wish"]["properties"].pop("kind"), "kind: is gone"),
    "a choice is refused": (lambda d, s: s["Wish"]["properties"]["kind"]["enum"].pop(), "'b'"),
    "a limit is tightened": (
        lambda d, s: s["Wish"]["properties"]["size"].update(maximum=9),
        "maximum is 9 now",
    ),
    "an answer lacks a field": (lambda d, s: s["Thing"]["properties"].pop("id"), "/id: is gone"),
    "an answer may lack a field": (
        lambda d, s: s["Thing"]["required"].remove("id"),
        "/id: may be missing now",
    ),
    "an answer has another type": (
        lambda d, s: s["Thing"]["properties"]["size"].update(type="number"),
        "/size: was ['integer']",
    ),
    "an answer may be null": (
        lambda d, s: s["Thing"]["properties"].update(
            size={"anyOf": [{"type": "integer"}, {"type": "null"}]}
        ),
        "the form null is new in an answer",
    ),
    "a closed set grows": (lambda d, s: s["State"]["enum"].append("x"), "/state: the value 'x'"),
}
HARMLESS: dict[str, Change] = {
    "nothing": lambda d, s: None,
    "another path": lambda d, s: d["paths"].update({"/others": {"get": {"responses": {}}}}),
    "another parameter": lambda d, s: post(d)["parameters"].append({"in": "query", "name": "p"}),
    "another field of a request": lambda d, s: s["Wish"]["properties"].update(more={}),
    "a field is needed no more": lambda d, s: s["Wish"]["required"].clear(),
    "another choice": lambda d, s: s["Wish"]["properties"]["kind"]["enum"].append("c"),
    "a wider limit": lambda d, s: s["Wish"]["properties"]["size"].update(maximum=11),
    "another field of an answer": lambda d, s: s["Thing"]["properties"].update(more={}),
    "a value that is answered no more": lambda d, s: s["State"]["enum"].pop(),
    "another problem": lambda d, s: post(d)["responses"].update({"409": {}}),
}


def post(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/things"]["post"]
    return operation


@pytest.mark.parametrize(("change", "told"), BREAKING.values(), ids=BREAKING)
def test_what_breaks_a_client_is_told(change: Change, told: str) -> None:
    new = document()
    change(new, new["components"]["schemas"])
    found = breaking(document(), new)
    assert any(told in line for line in found), found


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_clients_can_live_with_is_allowed(change: Change) -> None:
    new = document()
    change(new, new["components"]["schemas"])
    assert breaking(document(), new) == []
