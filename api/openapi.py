"""The parts of OpenAPI that the framework cannot know: problems, raw bodies, tidy names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.problems import MEDIA_TYPE, Problem, kinds
from api.schemas.access import (
    AcceptRequest,
    ApiKeyRequest,
    InviteAgainRequest,
    MemberChange,
    MemberRequest,
    RenameRequest,
    SignInRequest,
)
from api.schemas.job_requests import ExtensionRequest, JobRequest
from api.schemas.jobs import BatchCancelRequest, CancelRequest, NoSettings
from api.schemas.prompt_sets import PromptSetRequest
from api.schemas.scorings import ScoringRequest
from api.schemas.stream_tokens import StreamTokenRequest
from api.schemas.templates import JobTemplatePatch, JobTemplateRequest
from api.schemas.webhooks import (
    RotateSecretRequest,
    WebhookEndpointChange,
    WebhookEndpointRequest,
)
from domain.job_patch import JobPatch
from domain.successors import Retrial
from vader_core.generating import GenerationSpec

REF = "#/components/schemas/{model}"
EXAMPLE_REF = "#/components/examples/{code}"
# Problems, and bodies that routes read as raw documents so that all of their faults are told at once.
_DESCRIBED: tuple[type[BaseModel], ...] = (
    *(
        Problem,
        JobRequest,
        JobPatch,
        BatchCancelRequest,
        NoSettings,
        ExtensionRequest,
        Retrial,
        JobTemplateRequest,
        JobTemplatePatch,
        CancelRequest,
        PromptSetRequest,
        ScoringRequest,
    ),
    *(ApiKeyRequest, RenameRequest, MemberRequest, MemberChange, InviteAgainRequest),
    *(GenerationSpec, AcceptRequest, SignInRequest),
    *(StreamTokenRequest, WebhookEndpointRequest, WebhookEndpointChange, RotateSecretRequest),
)

_EXAMPLES = Path(__file__).with_name("examples.json")

_DESCRIPTION = """\
Align video diffusion models with rewards, by their gradients or without: POST a job, watch it, download
the adapter.

Errors are `application/problem+json` (RFC 9457) with all faults of an input at once. POST needs an
`Idempotency-Key`: the same key with the same body gives the same answer for at least 7 days. Lists are
paged by `cursor`. Times are RFC 3339 in UTC, names ending in `_s` are seconds.
"""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The declaration of problem answers with these statuses, an example for every code."""
    return {status: _problem_response(status) for status in statuses}


def _problem_response(status: int) -> dict[str, Any]:
    meant = {code: advice for code, (its, advice) in kinds().items() if its == status}
    examples = {code: {"$ref": EXAMPLE_REF.format(code=code)} for code in meant}
    return {
        "description": ", ".join(f"`{code}`" for code in meant),
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}, "examples": examples}
        },
    }


def _problem_examples() -> dict[str, Any]:
    """An example of every problem, written once and referred to by all answers."""
    return {
        code: {"value": _example(status, code, text)} for code, (status, text) in kinds().items()
    }


def _example(status: int, code: str, text: str) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": f"https://vader.example/problems/{code.replace('_', '-')}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": text,
        "instance": "/v1/jobs",
        "code": code,
        "retryable": code in {"idempotency_in_progress", "rate_limited", "unavailable"},
        "request_id": "req_0f3a9c52d1e84b6f8a7c6d5e4f3a2b1c",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    if code == "validation_failed":
        example["errors"] = [
            {
                "pointer": "/video/num_frames",
                "code": "not_in_set",
                "detail": "tiny-wan needs 1 to 25 frames of the form 2k+1; got 8.",
                "nearest": [7, 9],
            }
        ]
    return example


_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Your own text, new for every new wish; at most 255 characters.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "5f2d8c1e-create-ads-v4",
}


def posts(
    body: type[BaseModel], *, examples: Mapping[str, dict[str, Any]], required: bool
) -> dict[str, Any]:
    """`openapi_extra` of a POST that reads a raw `body` and needs an Idempotency-Key."""
    return {"parameters": [_IDEMPOTENCY_KEY], **takes(body, examples=examples, required=required)}


def acts() -> dict[str, Any]:
    """`openapi_extra` of a POST that has no body and needs an Idempotency-Key."""
    return {"parameters": [_IDEMPOTENCY_KEY]}


def takes(
    body: type[BaseModel], *, examples: Mapping[str, dict[str, Any]], required: bool = True
) -> dict[str, Any]:
    """`openapi_extra` of a PATCH, a PUT or a POST without effects that reads a raw `body`."""
    schema = {"$ref": REF.format(model=body.__name__)}
    shown = {name: {"value": example} for name, example in examples.items()}
    content = {"application/json": {"schema": schema, "examples": shown}}
    return {"requestBody": {"required": required, "content": content}}


def receives(content_types: Iterable[str]) -> dict[str, Any]:
    """`openapi_extra` of a POST whose body is a file of one of these types."""
    binary = {"type": "string", "format": "binary"}
    return {
        "parameters": [_IDEMPOTENCY_KEY],
        "requestBody": {
            "required": True,
            "content": {content_type: {"schema": binary} for content_type in content_types},
        },
    }


def operation_id(route: APIRoute) -> str:
    """The route function's name: generated clients get `create_job`, `list_jobs` and so on."""
    return route.name


def install(app: FastAPI) -> None:
    """Let `app` describe itself with the raw bodies and problems among its schemas."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=_DESCRIPTION,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    described: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in _DESCRIBED
    ]
    _, extra = models_json_schema(described, ref_template=REF)
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for name, definition in extra["$defs"].items():
        components.setdefault(name, definition)
    schema["components"]["examples"] = _problem_examples()
    _give_examples(schema)
    return schema


def _give_examples(schema: dict[str, Any]) -> None:
    """Puts what the API answered in its own tests beside the schemas of its answers."""
    examples = json.loads(_EXAMPLES.read_text(encoding="utf-8"))
    for methods in schema["paths"].values():
        for operation in methods.values():
            for status, contents in examples.get(operation["operationId"], {}).items():
                answer = operation["responses"].get(status, {})
                for media_type, example in contents.items():
                    answer.get("content", {}).get(media_type, {})["example"] = example
