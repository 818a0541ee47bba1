from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, JsonValue, ValidationError

from vader_core.strict import Strict


class Inner(Strict):
    count: int = 0


class Numbers(Strict):
    whole: int = 0
    bounded: Annotated[int, Field(ge=0, le=10)] = 0
    part: float | None = None
    scale: float | Literal["base"] = 1.0
    many: list[int] = []
    named: dict[str, float] = {}
    switch: bool = False
    anything: JsonValue = None
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"whole": True}, "int_type"),
        ({"bounded": False}, "int_type"),
        ({"part": False}, "float_type"),
        ({"scale": True}, "float_type"),
        ({"many": [1, True]}, "int_type"),
        ({"named": {"a": False}}, "float_type"),
        ({"inner": {"count": True}}, "int_type"),
        ({"switch": 0}, "bool_type"),
        ({"switch": "off"}, "bool_type"),
    ],
)
def test_numbers_and_booleans_are_kept_apart(document: dict[str, JsonValue], fault: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Numbers.model_validate(document)
    assert fault in {found["type"] for found in refused.value.errors()}


def test_whole_numbers_stand_for_floats_and_the_other_way_round() -> None:
    made = Numbers.model_validate({"whole": 2.0, "part": 1, "scale": 3, "switch": True})
    assert (made.whole, made.part, made.scale, made.switch) == (2, 1.0, 3.0, True)
    assert Numbers.model_validate({"scale": "base", "anything": True}).anything is True


def test_bounds_and_schema_stay_as_they_are() -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate({"bounded": 11})
    bounded = Numbers.model_json_schema()["properties"]["bounded"]
    assert (bounded["type"], bounded["minimum"], bounded["maximum"]) == ("integer", 0, 10)
