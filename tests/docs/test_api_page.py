"""docs/api.md: its tables and numbers are those of the code. Its commands are run by test_guides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.problems import kinds
from domain import api_keys, event_types, members, quotas, webhook_schedule, webhooks
from domain.job_status import TRANSITIONS, Status, allowed_actions
from domain.settings import Settings
from domain.stream_tokens import TTL
from domain.webhook_deliveries import IN_FLIGHT_PER_ENDPOINT
from tests.api.teams import make_team
from tests.openapi.document import current
from worker.webhook_post import TOTAL_S

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
_UNITS = {"s": 1, "min": 60, "h": 3600}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins with `heading`, without that line."""
    table = PAGE.split(f"\n| {heading} |")[1].split("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def named(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return re.findall(r"`([^`]+)`", cell)


def default(name: str) -> object:
    return Settings.model_fields[name].default


def test_the_scopes_are_all_that_keys_can_have() -> None:
    assert [named(row[0]) for row in rows("scope")] == [[name] for name in api_keys.ALL_SCOPES]


def test_a_role_has_the_scopes_of_its_row() -> None:
    shown = {named(role)[0]: cell for role, cell in rows("role")}
    assert named(shown["viewer"]) == list(members.SCOPES["viewer"])
    assert shown["editor"].startswith("a viewer's")
    both = named(shown["viewer"]) + named(shown["editor"])
    assert both == list(members.SCOPES["editor"])
    assert shown["admin"] == "all"
    assert set(members.SCOPES["admin"]) == set(api_keys.ALL_SCOPES)
    assert shown.keys() == members.SCOPES.keys()


def test_every_problem_has_a_row_with_its_status() -> None:
    shown = {named(row[1])[0]: int(row[0]) for row in rows("status | code")}
    assert shown == {code: status for code, (status, _) in kinds().items()}


def test_the_example_is_what_the_service_answers(settings: Settings) -> None:
    body = re.findall(r"faulty-\$RANDOM\" -d '(.*?)'", PAGE, re.DOTALL)[0]
    shown = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    headers = {**make_team("ads").headers, "Idempotency-Key": "1"}
    with TestClient(create_app(settings), headers=headers) as client:
        answer = client.post("/v1/jobs", json=json.loads(body)).json()
    of_this_request = {"type", "request_id", "trace_id"}
    assert shown.keys() == answer.keys()
    assert {name: shown[name] for name in shown if name not in of_this_request} == {
        name: answer[name] for name in answer if name not in of_this_request
    }


@pytest.mark.parametrize("status", Status)
def test_a_state_has_its_ways_and_actions(status: Status) -> None:
    cells = {named(row[0])[0]: row[2:] for row in rows("status | it")}
    assert cells.keys() == set(Status)
    assert set(named(cells[status][0])) == TRANSITIONS[status]
    assert named(cells[status][1]) == allowed_actions(status)


def test_every_event_type_has_a_row() -> None:
    assert sorted(named(row[0])[0] for row in rows("type")) == sorted(event_types.EVENT_TYPES)
    told = [named(row[0])[0] for row in rows("message")]
    assert sorted(told) == sorted(event_types.GENERATION_TYPES)
    (quiet,) = event_types.QUIET_TYPES
    assert any(f"`{quiet}`" == row[0] and "asked for by name" in row[1] for row in rows("type"))


def test_every_quota_has_a_row_with_its_default() -> None:
    shown = {named(row[0])[0]: row[1] for row in rows("quota")}
    limits = {name: default(f"quota_{name}") for name in quotas.NAMES}
    assert shown == {name: str(limit or "no limit") for name, limit in limits.items()}


def test_the_rate_limits_are_those_of_the_settings() -> None:
    names = {
        "default": "rate_limit_requests",
        "create": "rate_limit_creates",
        "project": "rate_limit_project",
        "project-create": "rate_limit_project_creates",
        "login": "rate_limit_logins",
        "login-email": "rate_limit_logins_email",
        "login-address": "rate_limit_logins_address",
        "failures": "rate_limit_failures",
    }
    shown = {named(row[0])[0]: int(row[2]) for row in rows("policy")}
    assert shown == {name: default(setting) for name, setting in names.items()}


def test_a_webhook_is_retried_as_the_page_says() -> None:
    sentence = PAGE.split("\nafter ")[1].split(", each")[0]
    steps = re.findall(r"(\d+) (min|s|h)", sentence)
    delays_s = tuple(int(number) * _UNITS[unit] for number, unit in steps)
    assert delays_s == webhook_schedule.RETRY_DELAYS_S
    assert f"about {sum(delays_s) // 3600} hours" in PAGE
    assert f"each {webhook_schedule.JITTER * 100:g} % more or less" in PAGE
    assert "ten times in all" in PAGE
    assert len(delays_s) + 1 == 10
    assert f"(up to {webhook_schedule.MAX_RETRY_AFTER_S // 3600} h)" in PAGE


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        ("a 2xx within {} s", lambda: TOTAL_S),
        ("At most {} are on their way", lambda: IN_FLIGHT_PER_ENDPOINT),
        ("has at most {} endpoints", lambda: webhooks.MAX_ENDPOINTS),
        ("deliveries are kept for {} days", lambda: default("webhook_keep_days")),
        ("for at least {} days", lambda: default("idempotency_keep_days")),
        ("A project has at most {} keys", lambda: api_keys.MAX_ACTIVE),
        ("at most {} streams open", lambda: default("streams_of_project")),
        ("and {} of all projects", lambda: default("streams")),
        ("After {} failed or lost attempts", lambda: default("max_attempts")),
        ("`url_expires_at`, {} minutes by default", lambda: default("link_ttl_s") / 60),  # type: ignore[operator]
    ],
)
def test_a_number_is_that_of_the_code(sentence: str, number: Callable[[], float]) -> None:
    assert sentence.format(f"{number():g}") in " ".join(PAGE.split())


def test_the_times_that_are_written_out() -> None:
    assert default("session_days") == 7
    assert "that holds for seven days" in PAGE
    assert TTL.total_seconds() == 5 * 60
    assert "opens streams for five minutes" in PAGE


def test_every_path_is_one_of_the_api() -> None:
    paths = current()["paths"]
    for method, path in re.findall(r"`(GET|POST) (/v1/[a-z/{}_-]*)", PAGE):
        known = [each for each in paths if _shape(each) == _shape(path)]
        assert known, f"{method} {path}"
        assert any(method.lower() in paths[each] for each in known), f"{method} {path}"


def _shape(path: str) -> str:
    return re.sub(r"{[^}]*}", "{}", path)
