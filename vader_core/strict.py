"""The base of every typed document: unknown fields are refused. Free of torch."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

_NUMBERS = ("int", "float")
# What stands there is no part of how values are read.
_NOT_READ = ("metadata", "serialization")


def _kept_apart(part: Any) -> Any:
    if isinstance(part, list | tuple):
        return type(part)(_kept_apart(member) for member in part)
    if not isinstance(part, dict):
        return part
    read = {
        name: member if name in _NOT_READ else _kept_apart(member) for name, member in part.items()
    }
    if part.get("type") == "bool":
        return {**read, "strict": True}
    if part.get("type") not in _NUMBERS:
        return read
    fault: Any = f"{part['type']}_type"

    def refuse_boolean(value: Any) -> Any:
        if isinstance(value, bool):
            raise PydanticKnownError(fault)
        return value

    number: Any = read
    return core_schema.no_info_before_validator_function(refuse_boolean, number)


class Strict(BaseModel):
    """Refuses unknown fields, true and false for numbers, and anything else for true and false.

    Cannot be changed after it was checked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        """As pydantic makes it, but for booleans: it would take them for 0 and 1, and "off" for one."""
        schema: CoreSchema = _kept_apart(handler(source))
        return schema
