"""The API's description of itself: what clients are generated from."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain.errors import DomainError
from tests.api.teams import Team
from vader_core.method_spec import SETTINGS

KEYLESS = (
    "/livez",
    "/readyz",
    "/metrics",
    "/llms.txt",
    "/problems/{kind}",
    "/v1/objects/{key}",
    "/v1/invitations/accept",
)
# They change nothing, or are for those who have no project yet.
WITHOUT_IDEMPOTENCY_KEY = (
    *("/v1/sessions", "/v1/invitations/accept"),
    *("/v1/jobs/dry-run", "/v1/prompt-sets/validate"),
)


@pytest.fixture
def schema(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def _bodies(operation: dict[str, Any]) -> dict[str, Any]:
    """What may be sent, by media type; some POSTs take no body."""
    found: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    return found


def test_every_operation_has_a_tidy_id_a_description_and_its_answers(
    schema: dict[str, Any],
) -> None:
    assert schema["openapi"].startswith("3.1")
    found = operations(schema)
    names = [operation["operationId"] for _, _, operation in found]
    assert len(set(names)) == len(names)
    for path, method, operation in found:
        assert operation["operationId"].replace("_", "").isalpha()
        assert operation["description"], path
        good = [answer for status, answer in operation["responses"].items() if status < "400"]
        assert good, path
        if path not in KEYLESS and (method, path) != ("post", "/v1/sessions"):
            assert operation["security"] == [{"HTTPBearer": []}, {"APIKeyCookie": []}]
            assert {"401", "422", "503"} <= set(operation["responses"])
        if method == "post":
            for media_type, body in _bodies(operation).items():
                if media_type != "application/json":
                    assert body["schema"]["type"] == "string"
                    continue
                assert body["examples"]
                assert body["schema"]["$ref"].rpartition("/")[2] in schema["components"]["schemas"]
            headers = {p["name"]: p for p in operation.get("parameters", ())}
            if path not in WITHOUT_IDEMPOTENCY_KEY:
                assert headers["Idempotency-Key"]["required"] is True


def test_every_problem_answer_has_the_one_shape_and_an_example(schema: dict[str, Any]) -> None:
    for path, _, operation in operations(schema):
        for status, answer in operation["responses"].items():
            if status < "400":
                continue
            content = answer["content"]["application/problem+json"]
            assert content["schema"]["$ref"].endswith("/Problem"), path
            for reference in content["examples"].values():
                code = reference["$ref"].rpartition("/")[2]
                assert schema["components"]["examples"][code]["value"]["status"] == int(status)


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    known = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "examples")
        for name in schema["components"][kind]
    }

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            # Answers of the API may hold schemas of their own.
            inner = [member for name, member in value.items() if name != "example"]
            return own.union(*(references(member) for member in inner))
        if isinstance(value, list):
            return set().union(*(references(member) for member in value))
        return set()

    assert references(schema) <= known
    assert "label.NAME" in str(schema["paths"]["/v1/jobs"]["get"]["parameters"])


def test_the_examples_are_accepted(client: TestClient, schema: dict[str, Any]) -> None:
    made: dict[str, str] = {}
    for path in ("/v1/job-templates", "/v1/jobs", "/v1/jobs/dry-run", "/v1/prompt-sets"):
        operation = schema["paths"][path]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        for name, example in examples.items():
            headers = {"Idempotency-Key": f"{path} {name}"}
            body = dict(example["value"])
            if "template" in body:
                # The example's own is nobody's.
                body["template"] = made["/v1/job-templates"]
            answer = client.post(path, json=body, headers=headers)
            assert answer.is_success, answer.text
            made[path] = answer.json().get("id", "")


def test_job_examples_cover_both_kinds_of_methods_and_the_schema_tells_all_apart(
    schema: dict[str, Any],
) -> None:
    body = schema["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert {"reward_gradient", "grpo"} <= {
        example["value"].get("method", {}).get("type") for example in body["examples"].values()
    }
    method = schema["components"]["schemas"]["JobSpec"]["properties"]["method"]
    assert set(method["discriminator"]["mapping"]) == set(SETTINGS)
    offered = {reference["$ref"] for reference in method["oneOf"]}
    assert set(method["discriminator"]["mapping"].values()) == offered


def test_every_code_that_clients_can_meet_is_described(client: TestClient) -> None:
    waiting = [DomainError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.status < 500 and kind.code != "stale_attempt":
            answer = client.get(f"/problems/{kind.code.replace('_', '-')}")
            assert answer.json()["status"] == kind.status, kind


def test_the_documentation_page_is_served(anonymous: TestClient, team: Team) -> None:
    page = anonymous.get("/docs").text
    linked = set(re.findall(r'(?:src|href)="([^"]+)"', page))
    assert linked == {
        f"/docs/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
    }
    assert "url: '/openapi.json'" in page
    for path in linked:
        answer = anonymous.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"][:6]) == (200, "public")
        assert len(answer.content) > 1000
    assert "SwaggerUIBundle" in anonymous.get("/docs/swagger-ui-bundle.js").text
    assert anonymous.get("/docs/redoc.standalone.js").status_code == 404
