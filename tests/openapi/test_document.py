"""The published OpenAPI document against the app, and its examples against its schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.openapi.changes import breaking
from tests.openapi.document import current, published

RENEW = "run: python -m pytest tests/api --record-examples, then: python -m tests.openapi"


def answers(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every content of every answer of success, by where it stands."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                for media_type, content in answer.get("content", {}).items():
                    if status < "400" and media_type != "application/octet-stream":
                        yield f"{method.upper()} {path} {status} {media_type}", content


def test_nothing_that_clients_were_promised_is_broken() -> None:
    assert breaking(published(), current()) == [], "undo it, or: python -m tests.openapi --breaking"


def test_the_published_document_is_the_apps() -> None:
    assert published() == current(), "run: python -m tests.openapi"


def test_every_answer_has_an_example() -> None:
    lacking = [where for where, content in answers(current()) if "example" not in content]
    assert lacking == [], RENEW


ANSWERS = dict(answers(published()))


@pytest.mark.parametrize("where", ANSWERS)
def test_an_example_keeps_to_its_schema(where: str) -> None:
    content = ANSWERS[where]
    schema = {**content.get("schema", {}), "components": published()["components"]}
    faults = list(Draft202012Validator(schema).iter_errors(content["example"]))
    assert [f"{fault.json_path}: {fault.message}"[:300] for fault in faults] == [], RENEW
