"""Answers of the service as typed objects, and what is asked as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from httpx_sse import ServerSentEvent
from pydantic import BaseModel, ValidationError

from client.errors import UnexpectedAnswer
from client.models import Tagged

Model = TypeVar("Model", bound=BaseModel)


def given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parameters that have a value."""
    return {name: value for name, value in (params or {}).items() if value is not None}


def parsed(model: type[Model], response: httpx.Response) -> Model:
    """The answer as `model`. Raises `UnexpectedAnswer` where it has another shape."""
    answer = body_of(response)
    if issubclass(model, Tagged) and isinstance(answer, dict):
        answer["etag"] = response.headers.get("ETag")
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        path = response.request.url.path
        raise UnexpectedAnswer(f"The answer of {path} has another shape: {error}") from error


def body_of(response: httpx.Response) -> Any:
    """The JSON of an answer. Raises `UnexpectedAnswer` where it is none."""
    try:
        return response.json()
    except ValueError as error:
        raise UnexpectedAnswer(
            f"{response.url} answered {response.status_code} with something that is not JSON."
        ) from error


def message_as(model: type[Model], message: ServerSentEvent) -> Model:
    """The data of a stream's message as `model`. Raises `UnexpectedAnswer`."""
    try:
        return model.model_validate_json(message.data)
    except ValidationError as error:
        raise UnexpectedAnswer(f"The stream sent something else than expected: {error}") from error
