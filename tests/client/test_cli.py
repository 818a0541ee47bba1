from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from client.cli import app
from client.models import Job
from client.show.jobs import show_jobs
from tests.client.scripted_server import (
    Reply,
    json_reply,
    problem_reply,
    serving,
    stream_reply,
)
from tests.client.shapes import JOB_ID, event_body, job_body

VERDICT = {
    "baseline_heldout_reward": 0.4,
    "heldout_reward": 0.6,
    "delta": 0.2,
    "delta_ci95": [0.1, 0.3],
    "verdict": "improved",
    "pairs_needed": {
        "wanted": "given",
        "half_width": 0.05,
        "prompts": 24,
        "pairs": 48,
        "unknown_because": None,
    },
    "guards": [
        {"reward": "diversity@1", "ratio_to_base": 0.97, "min_ratio_to_base": 0.8, "ok": True},
        {"reward": "clip-score@1", "rule": "drop", "drop": 0.62, "max_drop": 0.5, "ok": False},
    ],
}


def _vader(*words: str, replies: tuple[Reply, ...]) -> Result:
    with serving(*replies) as script:
        environment = {"VADER_URL": script.url, "VADER_API_KEY": "key"}
        return CliRunner().invoke(app, [*words], env=environment)


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    path = tmp_path / "job.yaml"
    path.write_text("base_model: tiny-unet")
    return str(path)


@pytest.mark.parametrize(
    ("status", "expected"), [("succeeded", 0), ("failed", 1), ("cancelled", 3)]
)
def test_the_exit_status_of_watch_follows_the_job(status: str, expected: int) -> None:
    ended = job_body(status=status, terminal=True)
    replies = (json_reply(job_body()), stream_reply([event_body(1, status)]), json_reply(ended))
    assert _vader("jobs", "watch", JOB_ID, replies=replies).exit_code == expected


def test_a_job_that_is_watched_ends_with_verdict_interval_and_guards(job_file: str) -> None:
    ended = job_body(
        status="succeeded", terminal=True, evaluation=VERDICT, stop_reason="completed_steps"
    )
    replies = (
        json_reply(job_body(), status=202),
        stream_reply([event_body(1, "queued"), event_body(2, "succeeded")]),
        json_reply(ended),
    )
    result = _vader("jobs", "create", "-f", job_file, "--watch", replies=replies)
    assert result.exit_code == 0
    assert "improved: the adapter scores higher" in result.stdout
    assert "+0.2000, 95 % interval [+0.1000, +0.3000]" in result.stdout
    assert "about 48 needed (24 prompts) for an interval of +-0.0500, as asked" in result.stdout
    assert "diversity@1 holds: 0.97 of the base model's, at least 0.80" in result.stdout
    broken = "clip-score@1 BROKEN: -0.62 deviations of the base model's videos, at least -0.50"
    assert broken in result.stdout


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        (
            {"wanted": "seen_difference", "half_width": 0.2, "prompts": 5, "pairs": 10},
            "about 10 needed (5 prompts) for an interval of +-0.2000, to tell this difference from 0",
        ),
        ({"unknown_because": "too_few_prompts"}, "fewer than 3 held-out prompts"),
        ({"unknown_because": "no_difference"}, "there is no difference"),
        ({"unknown_because": "something new"}, "is not known"),
    ],
)
def test_a_job_that_is_shown_says_how_many_pairs_it_needs(
    needed: dict[str, object], told: str
) -> None:
    job = job_body(evaluation={**VERDICT, "pairs_needed": needed})
    assert told in _vader("jobs", "get", JOB_ID, replies=(json_reply(job),)).stdout


def test_a_job_of_which_no_adapter_was_evaluated_shows_the_base_model_alone() -> None:
    base = {"kind": "base", "baseline_heldout_reward": 0.4, "heldout_reward": 0.4}
    job = job_body(status="cancelled", terminal=True, evaluation=base)
    told = _vader("jobs", "get", JOB_ID, replies=(json_reply(job),)).stdout.splitlines()
    assert "held-out    base 0.4000" in told


def test_a_narrow_terminal_cuts_neither_ids_nor_names() -> None:
    name = "a-name-that-is-far-too-long-for-the-rest-of-the-line"
    screen = StringIO()
    console = Console(file=screen, width=70, force_terminal=True, color_system=None)
    show_jobs(console, [Job.model_validate(job_body(name=name))])
    cells = [line.split() for line in screen.getvalue().splitlines()]
    assert cells[1][0] == JOB_ID
    start = screen.getvalue().splitlines()[0].index("name")
    width = screen.getvalue().splitlines()[0].index("status") - start
    lines = screen.getvalue().splitlines()[1:]
    assert "".join(line[start : start + width].strip() for line in lines) == name


def test_json_output_of_watch_is_events_then_the_job() -> None:
    replies = (
        json_reply(job_body()),
        stream_reply([event_body(1, "queued"), event_body(2, "failed")]),
        json_reply(job_body(status="failed", terminal=True)),
    )
    result = _vader("jobs", "watch", JOB_ID, "--json", replies=replies)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("seq") for line in lines] == [1, 2, None]
    assert lines[-1]["status"] == "failed"
    assert result.exit_code == 1


def test_a_refused_job_shows_all_faults_with_their_place(job_file: str) -> None:
    faults = [
        {"pointer": "/base_model", "detail": "There is none.", "nearest": ["tiny-unet@1"]},
        {"pointer": "/budget", "detail": "Field required"},
    ]
    reply = problem_reply(
        422, "validation_failed", detail="Nothing was created.", errors=faults, request_id="req_1"
    )
    result = _vader("jobs", "create", "-f", job_file, replies=(reply,))
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "Nothing was created." in result.stderr
    assert "/base_model: There is none. Nearest: tiny-unet@1." in result.stderr
    assert "/budget: Field required" in result.stderr
    assert "req_1" in result.stderr


def test_a_refusal_as_json_is_the_problem(job_file: str) -> None:
    reply = problem_reply(409, "invalid_transition", allowed_actions=["cancel"])
    result = _vader("jobs", "create", "-f", job_file, "--json", replies=(reply,))
    assert result.exit_code == 4
    assert json.loads(result.stderr)["allowed_actions"] == ["cancel"]


def test_text_of_others_is_not_taken_for_markup() -> None:
    replies = (json_reply(job_body(name="[bold]x[/bold] [/nope]")),)
    assert "[bold]x[/bold] [/nope]" in _vader("jobs", "get", JOB_ID, replies=replies).stdout


def test_a_list_shows_a_row_for_each_job() -> None:
    page = {"data": [job_body(name="one"), job_body(name="two")], "has_more": False}
    result = _vader(
        "jobs", "list", "--status", "queued", "--method", "nft", replies=(json_reply(page),)
    )
    assert result.exit_code == 0
    assert "one" in result.stdout
    assert "two" in result.stdout


def test_a_cancelled_job_is_shown() -> None:
    reply = json_reply(job_body(status="cancelling", method="nft"), status=202)
    result = _vader("jobs", "cancel", JOB_ID, replies=(reply,))
    assert result.exit_code == 0
    assert "cancelling" in result.stdout
    assert "method      nft" in result.stdout


def test_a_download_that_does_not_match_fails_and_keeps_nothing(tmp_path: Path) -> None:
    with serving(Reply(200, b"other")) as files:
        file = {"path": "x", "size_bytes": 5, "sha256": "0" * 64, "url": f"{files.url}/x"}
        page = json_reply({"data": [file], "has_more": False})
        to = tmp_path / "to"
        words = ("adapters", "pull", "ad_1", "--to", str(to))
        result = _vader(*words, replies=(page,))
    assert result.exit_code == 5
    assert "Nothing was kept" in result.stderr
    assert list(to.iterdir()) == []


def test_without_url_and_key_the_command_says_where_they_come_from(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["jobs", "list", "--data-dir", str(tmp_path)])
    assert result.exit_code == 5
    assert "VADER_URL" in result.stderr
