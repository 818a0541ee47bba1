"""Commands that wait, fetch or ask, against a scripted service."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.main import get_command
from typer.testing import CliRunner

from client.cli import app
from tests.client.scripted_server import Asked, Reply, json_reply, serving
from tests.client.shapes import JOB_ID, job_body, plan_body

VIDEO = b"video" * 100


def _vader(*words: str, replies: tuple[Reply, ...]) -> tuple[Result, list[Asked]]:
    with serving(*replies) as script:
        environment = {"VADER_URL": script.url, "VADER_API_KEY": "key"}
        return CliRunner().invoke(app, [*words], env=environment), script.asked


def _generation(url: str = "", **changes: object) -> dict[str, object]:
    video = {
        "role": "adapter",
        "seed": 3,
        "url": url,
        "sha256": hashlib.sha256(VIDEO).hexdigest(),
        "size_bytes": len(VIDEO),
        "scores": [{"reward": "tiny-action@1", "score": 0.5}],
    }
    body: dict[str, object] = {
        "id": "gen_01kax4b7c8d9e0f1g2h3j4k5m6",
        "status": "queued",
        "terminal": False,
        "base_model": "tiny-unet@1",
        "spec": {"prompt": "A red kite!"},
        "outputs": [video] if url else [],
        "created_at": "2026-11-23T10:00:00Z",
    }
    return {**body, **changes}


def test_generate_waits_and_downloads_the_videos(tmp_path: Path) -> None:
    ended = {"status": "succeeded", "terminal": True}
    with serving(Reply(200, VIDEO)) as files:
        replies = (
            json_reply(job_body(adapter={"id": "ad_1"})),
            json_reply(_generation(), status=202),
            json_reply(_generation(f"{files.url}/v", **ended)),
        )
        words = ("--prompt", "A red kite!", "--num-frames", "9", "--set", "seed=3")
        result, asked = _vader(
            "generate", "--adapter", JOB_ID, *words, "--to", str(tmp_path), replies=replies
        )
    assert result.exit_code == 0, result.output
    assert json.loads(asked[1].body) == {
        "prompt": "A red kite!",
        "adapter": "ad_1",
        "compare_with_base": False,
        "score_with": [],
        "seed": 3,
        "video": {"num_frames": 9},
    }
    assert asked[2].headers["Prefer"] == "wait=30"
    assert (tmp_path / "a-red-kite-j4k5m6-seed3-adapter.mp4").read_bytes() == VIDEO
    assert "tiny-action@1 0.5000" in result.stdout


def test_a_generation_that_failed_says_so_by_its_status(tmp_path: Path) -> None:
    error = {"code": "out_of_memory", "message": "Too large.", "hint": "Fewer frames."}
    failed = _generation(status="failed", terminal=True, error=error)
    result, _ = _vader("generations", "pull", "gen_1", replies=(json_reply(failed),))
    assert result.exit_code == 1
    assert "Fewer frames." in result.stdout


@pytest.mark.parametrize(("extra", "requests"), [((), 1), (("--all",), 2)])
def test_a_list_is_one_json_array_of_some_or_of_all(extra: tuple[str, ...], requests: int) -> None:
    pages = (
        {"data": [job_body(name="one")], "next_cursor": "next", "has_more": True},
        {"data": [job_body(name="two")], "next_cursor": None, "has_more": False},
    )
    replies = tuple(json_reply(page) for page in pages)
    result, asked = _vader("jobs", "list", "--json", *extra, replies=replies)
    assert len(json.loads(result.stdout)) == len(asked) == requests


def test_json_is_what_the_service_said_and_no_more() -> None:
    body = job_body(name="one", budget={"steps": {"limit": 3, "used": 0}}, brand_new=[1])
    result, _ = _vader("jobs", "get", JOB_ID, "--json", replies=(json_reply(body),))
    assert json.loads(result.stdout) == body
    assert '"limit": 3,' in result.stdout


def test_a_list_that_goes_on_says_so() -> None:
    page = {"data": [job_body()], "next_cursor": "next", "has_more": True}
    result, _ = _vader("jobs", "list", replies=(json_reply(page),))
    assert "--all" in result.stdout


def test_changes_by_options_go_into_the_file_s_spec(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("base_model: tiny-unet\nbudget: {max_steps: 3}\n")
    changes = ("--set", "budget.max_steps=9", "--set", "name=nine", "--set", "rewards=[]")
    replies = (json_reply(plan_body()), json_reply(job_body(), status=202))
    result, asked = _vader(
        "jobs", "create", "-f", str(file), *changes, "--dry-run-first", "--yes", replies=replies
    )
    assert result.exit_code == 0, result.output
    spec = {"base_model": "tiny-unet", "budget": {"max_steps": 9}, "name": "nine", "rewards": []}
    assert json.loads(asked[0].body) == spec
    expected = {"spec_hash": plan_body()["spec_hash"]}
    assert json.loads(asked[1].body) == {**spec, "expect": expected}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("jobs", "create"), "give one of --file and --template"),
        (("jobs", "list", "--label", "ads"), "NAME=VALUE"),
        (("jobs", "batch-cancel", "--expect", "1"), "name jobs"),
    ],
)
def test_wrong_usage_is_status_2(words: tuple[str, ...], told: str) -> None:
    result, asked = _vader(*words, replies=())
    assert (result.exit_code, asked) == (2, [])
    assert told in result.stderr


def test_every_command_has_json_and_says_what_it_does() -> None:
    exceptions = {"completion"}

    def walk(group: object, path: tuple[str, ...] = ()) -> None:
        for name, one in getattr(group, "commands", {}).items():
            assert one.help or one.callback is None, (*path, name)
            if hasattr(one, "commands"):
                walk(one, (*path, name))
            elif name not in exceptions:
                assert "as_json" in {parameter.name for parameter in one.params}, (*path, name)

    walk(get_command(app))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_a_script_that_completes(shell: str) -> None:
    result = CliRunner().invoke(app, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert f"_VADER_COMPLETE=complete_{shell}" in result.stdout


def test_words_are_completed() -> None:
    asked = {"COMP_WORDS": "vader jobs dry", "COMP_CWORD": "2", "_VADER_COMPLETE": "complete_bash"}
    result = CliRunner().invoke(app, [], prog_name="vader", env=asked)
    assert result.stdout.split() == ["dry-run"]
