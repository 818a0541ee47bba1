"""What all answers of the service have in common: problems, faults, pages."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Item = TypeVar("Item")


class Answer(BaseModel):
    """What all answers share. Fields that the client does not know yet are kept as they came."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Tagged(Answer):
    """An answer with the `ETag` that a change of it names in `If-Match`; None where none came."""

    etag: str | None = Field(default=None, exclude=True)


class Fault(Answer):
    """One thing that is wrong with a request: at `pointer`, an RFC 6901 JSON Pointer into its body, or in a
    `parameter` of its address or headers."""

    pointer: str | None = None
    parameter: str | None = None
    code: str = ""
    detail: str = ""
    nearest: list[JsonValue] = []

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.pointer or self.parameter or "/"


class Problem(Answer):
    """RFC 9457 problem details with this service's extensions."""

    status: int
    title: str = ""
    detail: str = ""
    code: str = ""
    request_id: str | None = None
    retryable: bool = False
    errors: list[Fault] = []
    current_status: str | None = None
    allowed_actions: list[str] = []


class Page(Answer, Generic[Item]):
    """One page of a list; `next_cursor` asks for the next one."""

    data: list[Item]
    next_cursor: str | None = None
    has_more: bool = False


class Money(Answer):
    """An amount as a decimal string."""

    amount: str
    currency: str = ""


class CreatedBy(Answer):
    """Who made something: an API key or a member."""

    type: str
    id: str
    name: str = ""
