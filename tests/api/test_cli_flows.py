"""The `vader` command against the real API: the same words that a person types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from client.cli import app
from domain import db
from domain.settings import Settings
from domain.store import open_store
from domain.tables import Job
from tests import lives
from tests.api import outputs
from tests.api.teams import Team
from tests.factories import document

Vader = Callable[..., Result]


@pytest.fixture
def vader(
    serve: Callable[[], AbstractContextManager[str]], team: Team, tmp_path: Path
) -> Iterator[Vader]:
    """`vader("jobs", "list")`: the command's result, in a terminal of 80 columns that is none."""
    with serve() as url:
        environment = {"VADER_URL": url, "VADER_API_KEY": team.token, "COLUMNS": "80"}

        def run(*words: str, status: int = 0) -> Result:
            result = CliRunner().invoke(app, list(words), env=environment)
            assert result.exit_code == status, result.output
            return result

        yield run


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(document()))
    return str(path)


def _json(result: Result) -> Any:
    return json.loads(result.stdout)


def test_a_job_is_planned_made_changed_paused_and_cancelled(vader: Vader, job_file: str) -> None:
    plan = _json(vader("jobs", "dry-run", "-f", job_file, "--json"))
    assert plan["spec_hash"] in vader("jobs", "dry-run", "-f", job_file).stdout
    bound = ("jobs", "create", "-f", job_file, "--expect-hash", plan["spec_hash"], "--json")
    job = _json(vader(*bound))
    refused = vader(*bound, "--set", "seed=9", status=4)
    assert json.loads(refused.stderr)["code"] == "spec_hash_mismatch"
    odd = vader("jobs", "create", "-f", job_file, "--expect-max-cost", "much", status=4)
    assert "/expect/max_estimated_cost/amount" in odd.stderr

    assert job["id"] in vader("jobs", "list", "--status", "queued").stdout
    patched = vader("jobs", "patch", job["id"], "--max-steps", "40", "--label", "team=ads")
    assert "0 of 40" in patched.stdout
    assert "team=ads" in patched.stdout
    vader("jobs", "pause", job["id"])
    assert "asked for" in vader("jobs", "wait", job["id"], status=6).stdout
    vader("jobs", "wait", job["id"], "--until", "paused")
    vader("jobs", "resume", job["id"])
    vader("jobs", "wait", job["id"], "--timeout", "0", status=124)
    vader("jobs", "batch-cancel", job["id"], "--expect", "2", status=4)
    assert job["id"] in vader("jobs", "batch-cancel", "--label", "team=ads", "--expect", "1").stdout
    vader("jobs", "wait", job["id"], status=3)
    vader("jobs", "wait", job["id"], "--until", "paused", status=3)
    events = _json(vader("jobs", "events", job["id"], "--json"))
    assert events[-1]["type"] == "job.cancelled"
    assert "cancelled" in vader("jobs", "events", job["id"]).stdout.splitlines()[-1]
    assert "deleted" in vader("jobs", "delete", job["id"]).stdout


def test_a_job_made_after_its_dry_run_is_the_one_that_was_shown(
    vader: Vader, job_file: str
) -> None:
    made = vader("jobs", "create", "-f", job_file, "--dry-run-first", "--yes", "--json")
    plan = _json(vader("jobs", "dry-run", "-f", job_file, "--json"))
    assert _json(made)["spec_hash"] == plan["spec_hash"]


def test_all_faults_of_a_job_are_shown_with_their_places(vader: Vader, job_file: str) -> None:
    faulty = ("--set", "budget.max_steps=0", "--set", "base_model=nope", "--set", "webhookUrl=x")
    told = vader("jobs", "dry-run", "-f", job_file, *faulty, status=4).stderr
    assert "/budget/max_steps" in told
    assert "/base_model" in told
    assert "/webhookUrl" in told


def test_what_an_ended_job_left_is_shown_and_fetched(
    vader: Vader, job_file: str, settings: Settings, tmp_path: Path
) -> None:
    job = _json(vader("jobs", "create", "-f", job_file, "--json"))["id"]
    outputs.succeed(open_store(settings))
    shown = vader("jobs", "get", job).stdout
    assert "possible" in shown
    assert "final" in vader("jobs", "evaluation", job).stdout
    assert "reward" in vader("jobs", "metrics", job).stdout
    assert "succeeded" in vader("jobs", "attempts", job).stdout
    checkpoint = _json(vader("jobs", "checkpoints", job, "--json"))[0]["id"]
    assert "a blue circle" in vader("jobs", "samples", job).stdout
    promoted = _json(vader("jobs", "promote", job, checkpoint, "--json"))["id"]
    vader("adapters", "alias", "production", job)
    moved = vader("adapters", "alias", "production", promoted).stdout
    assert f"@production is {promoted}" in moved
    assert promoted in vader("adapters", "aliases").stdout
    assert len(_json(vader("adapters", "list", "--json"))) == 2
    assert "files" in vader("adapters", "get", "@production").stdout
    more = _json(vader("jobs", "extend", job, "--add-steps", "5", "--from", "last", "--json"))["id"]
    assert job in vader("jobs", "get", more).stdout
    assert "a  " + job in vader("jobs", "compare", job, more).stdout
    assert "max_steps" in vader("jobs", "compare", job, more).stdout
    vader("jobs", "wait", job)
    vader("jobs", "wait", job, "--until", "paused", status=1)


def test_a_failed_job_is_retried_with_another_deadline_or_without(
    vader: Vader, job_file: str
) -> None:
    first, second = (f"{db.utc_now().year + 1}-0{month}-01T00:00:00Z" for month in (1, 2))
    asked = vader(
        "jobs", "create", "-f", job_file, "--set", f"budget.deadline_at={first}", "--json"
    )
    job = _json(asked)["id"]
    claim = outputs.start()
    lives.ended(claim, lives.Status.FAILED, error=lives.BROKEN)
    again = _json(vader("jobs", "retry", job, "--json"))
    assert again["budget"]["deadline_at"] == first
    with db.transaction() as session:
        row = session.get_one(Job, claim.job_id)
        row.budget = {**row.budget, "deadline_at": "2026-01-01T00:00:00Z"}
    assert "/deadline_at" in vader("jobs", "retry", job, status=4).stderr
    later = _json(vader("jobs", "retry", job, "--deadline-at", second, "--json"))
    assert later["budget"]["deadline_at"] == second
    without = _json(vader("jobs", "retry", job, "--no-deadline", "--json"))
    assert without["budget"]["deadline_at"] is None
    both = ("--no-deadline", "--deadline-at", second)
    assert "give --deadline-at or" in vader("jobs", "retry", job, *both, status=2).stderr


def test_a_watched_job_tells_what_happens_until_it_ends(vader: Vader, job_file: str) -> None:
    job = _json(vader("jobs", "create", "-f", job_file, "--json"))["id"]
    lives.ended(outputs.start(), lives.Status.FAILED, error=lives.BROKEN)
    told = vader("jobs", "watch", job, status=1).stdout
    assert "It broke." in told
    lines = vader("jobs", "watch", job, "--json", status=1).stdout.splitlines()
    assert json.loads(lines[-1])["error"]["code"] == "internal"
    assert job in vader("events", "--type", "job.failed").stdout


def test_prompts_templates_and_what_a_project_has(
    vader: Vader, tmp_path: Path, job_file: str
) -> None:
    prompts = tmp_path / "shapes.txt"
    prompts.write_text("a red circle moving left\na blue square moving up\n")
    assert "2 prompts" in vader("prompts", "validate", str(prompts)).stdout
    stored = _json(vader("prompts", "push", str(prompts), "--name", "shapes", "--json"))["id"]
    assert "shapes v1" in vader("prompts", "list").stdout
    assert stored in vader("prompts", "get", stored).stdout
    assert "a blue square" in vader("prompts", "lines", stored).stdout
    vader("prompts", "delete", stored)
    assert stored not in vader("prompts", "list").stdout

    made = _json(vader("templates", "create", "-f", job_file, "--name", "usual", "--json"))
    vader("templates", "update", made["id"], "--set", "seed=4")
    assert "seed: 4" in vader("templates", "get", made["id"]).stdout
    assert "usual" in vader("templates", "list").stdout
    from_it = ("jobs", "create", "--template", made["id"], "--set", "budget.max_steps=6")
    assert "0 of 6" in vader(*from_it).stdout
    assert "archived" in vader("templates", "archive", made["id"]).stdout


def test_keys_members_quotas_usage_and_the_audit_log(vader: Vader) -> None:
    key = _json(vader("keys", "create", "ci", "--scope", "jobs:read", "--json"))
    assert key["api_key"].startswith("vdr_live_")
    assert key["api_key"] not in vader("keys", "get", key["id"]).stdout
    assert "never" in vader("keys", "list").stdout
    vader("keys", "revoke", key["id"])
    invited = vader("members", "invite", "ada@example.com", "--name", "Ada", "--role", "admin")
    assert "told this once" in invited.stdout
    member = _json(vader("members", "list", "--json"))[0]["id"]
    assert "viewer" in vader("members", "update", member, "--role", "viewer").stdout
    vader("members", "remove", member)
    assert "running jobs" in vader("quotas").stdout
    assert "total" in vader("usage", "--group-by", "base_model,kind", "--interval", "day").stdout
    assert "member.remove" in vader("audit").stdout
    assert "ads" in vader("me").stdout
