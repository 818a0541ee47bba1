"""Why a short command could do nothing, as JSON: what it writes in place of a result. Free of torch."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from vader_core.errors import TrainerError
from vader_core.strict import Strict

Result = TypeVar("Result", bound=Strict)


class Failure(Strict):
    """Why nothing came of it (`vader_core.errors`). `retryable`: another attempt can help."""

    code: str
    message: str
    hint: str
    fault: Literal["user", "platform"]
    retryable: bool

    @staticmethod
    def of(error: TrainerError) -> Failure:
        return Failure(
            code=error.code,
            message=error.message,
            hint=error.hint,
            fault=error.fault,
            retryable=error.retryable,
        )


class Answer(Strict, Generic[Result]):
    """What a short command writes: one of the two."""

    result: Result | None = None
    error: Failure | None = None
