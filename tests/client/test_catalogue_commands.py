"""`vader base-models`, `rewards`, `methods` and `uploads` against a scripted service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from client.cli import app
from tests.client.scripted_server import Asked, Reply, json_reply, problem_reply, serving
from tests.client.shapes import (
    base_model_body,
    job_body,
    method_body,
    reward_body,
    scoring_body,
    upload_body,
)

SCORED = [
    {"upload": "upl_1", "sample": None, "prompt": "a red square", "score": 0.25, "reason": None},
    {
        "upload": None,
        "sample": "smp_1",
        "prompt": "a red square",
        "score": None,
        "reason": {"code": "unreadable", "message": "It cannot be read."},
    },
]


def vader(
    *words: str, replies: tuple[Reply, ...], columns: str = "200"
) -> tuple[Result, list[Asked]]:
    with serving(*replies) as script:
        environment = {"VADER_URL": script.url, "VADER_API_KEY": "key", "COLUMNS": columns}
        return CliRunner().invoke(app, [*words], env=environment), script.asked


def page(*rows: dict[str, object]) -> Reply:
    return json_reply({"data": list(rows), "has_more": False})


@pytest.fixture
def film(tmp_path: Path) -> str:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"frames")
    return str(path)


def test_base_models_are_listed_and_shown() -> None:
    listed, _ = vader("base-models", "list", replies=(page(base_model_body()),))
    assert listed.exit_code == 0, listed.output
    assert "tiny-wan" in listed.stdout
    assert "32x32, 9 frames" in listed.stdout
    shown, asked = vader("base-models", "get", "tiny-wan", replies=(json_reply(base_model_body()),))
    assert asked[0].path == "/v1/base-models/tiny-wan"
    assert "16 to 64, 8k+0" in shown.stdout
    assert "[9, 17]" in shown.stdout
    assert "fast: Four steps" in shown.stdout


def test_rewards_are_listed_and_shown() -> None:
    listed, _ = vader("rewards", "list", replies=(page(reward_body(), reward_body(weights=None)),))
    assert listed.exit_code == 0, listed.output
    assert "0 to inf" in listed.stdout
    shown, _ = vader("rewards", "get", "tiny-action", replies=(json_reply(reward_body()),))
    assert "moving left, moving up" in shown.stdout
    assert 'object: {"type": "string"}' in shown.stdout
    assert "org/name at unpinned, not installed" in shown.stdout


def test_methods_are_listed_and_shown() -> None:
    pages = page(method_body(), method_body(id="rg", needs_differentiable_reward=True))
    listed, asked = vader("methods", "list", replies=(pages,))
    assert listed.exit_code == 0, listed.output
    assert asked[0].path == "/v1/methods"
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [
        ["grpo", "any"],
        ["rg", "differentiable"],
    ]
    shown, asked = vader("methods", "get", "grpo", replies=(json_reply(method_body()),))
    assert asked[0].path == "/v1/methods/grpo"
    assert "Flow-GRPO" in shown.stdout
    told = shown.stdout.splitlines()
    place = told.index("group_size: default 8; integer >= 2")
    assert told[place + 1] == "    Videos of a prompt."
    assert "constant, cosine" in shown.stdout
    assert "integer >= 1 or null" in shown.stdout
    assert told[told.index("frames.n: needed; integer") + 1] == "    How many."
    assert "relative_prompt.wanted: needed; string" in told


def test_a_table_that_is_no_terminals_has_a_line_for_every_row() -> None:
    reward = reward_body(id="a-reward-with-a-rather-long-name", title="A title. " * 20)
    result, _ = vader("rewards", "list", replies=(page(reward),), columns="80")
    (line,) = result.stdout.splitlines()[1:]
    assert line.startswith("a-reward-with-a-rather-long-name")
    assert line.rstrip().endswith(("A title. " * 20).strip())


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("base-models", "list"), page(base_model_body())),
        (("base-models", "get", "x"), json_reply(base_model_body())),
        (("rewards", "list"), page(reward_body())),
        (("rewards", "get", "x"), json_reply(reward_body())),
        (("methods", "list"), page(method_body())),
        (("methods", "get", "x"), json_reply(method_body())),
        (("uploads", "list"), page(upload_body())),
    ],
)
def test_every_listing_can_be_json(words: tuple[str, ...], reply: Reply) -> None:
    result, _ = vader(*words, "--json", replies=(reply,))
    assert json.loads(result.stdout)


def test_a_reward_is_tried_on_files_and_samples(film: str) -> None:
    ended = scoring_body(
        status="succeeded", terminal=True, videos=SCORED, scores=[0.25, None], seconds=2.0
    )
    replies = (
        json_reply(upload_body(medium="video"), status=201),
        json_reply(scoring_body(), status=202),
        json_reply(scoring_body(status="running")),
        json_reply(ended),
    )
    words = ("rewards", "score", "tiny-action", film, "smp_1", "--prompt", "a red square")
    options = ("--target", "up", "--target", "down", "--param", "n=3", "--param", "object=cat")
    result, asked = vader(*words, *options, replies=replies)
    assert result.exit_code == 0, result.output
    uploaded, posted, waited, _ = asked
    assert (uploaded.body, uploaded.headers["Content-Type"]) == (b"frames", "video/mp4")
    assert uploaded.path == "/v1/uploads?name=film.mp4"
    assert posted.path == "/v1/rewards/tiny-action/score"
    assert json.loads(posted.body) == {
        "videos": [
            {"upload": "upl_1", "prompt": "a red square", "target": "up"},
            {"sample": "smp_1", "prompt": "a red square", "target": "down"},
        ],
        "params": {"n": 3, "object": "cat"},
    }
    assert waited.headers["Prefer"] == "wait=30"
    assert "0.2500" in result.stdout
    assert "unreadable: It cannot be read." in result.stdout


def test_a_scoring_that_failed_says_why_and_is_no_success(film: str) -> None:
    error = {"code": "time_limit", "message": "Too long.", "hint": "Fewer videos."}
    replies = (
        json_reply(upload_body(), status=201),
        json_reply(scoring_body(), status=202),
        json_reply(scoring_body(status="failed", terminal=True, error=error)),
    )
    result, _ = vader("rewards", "score", "x", film, "--prompt", "y", replies=replies)
    assert result.exit_code == 1
    assert "time_limit: Too long." in result.stdout
    assert "Fewer videos." in result.stdout


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("nowhere.mp4", "--prompt", "x"), 5, "nowhere.mp4 is no file"),
        (
            ("smp_1", "smp_2", "smp_3", "--prompt", "x", "--prompt", "y"),
            2,
            "once for each of the 3",
        ),
        (("smp_1", "--prompt", "x", "--param", "n"), 2, "NAME=VALUE"),
        (("smp_1",), 2, "--prompt"),
    ],
)
def test_what_cannot_be_asked_is_told_before_anything_is_sent(
    words: tuple[str, ...], status: int, told: str
) -> None:
    result, asked = vader("rewards", "score", "x", *words, replies=())
    assert result.exit_code == status
    assert told in " ".join(result.output.replace("│", "").split())
    assert asked == []


def test_files_are_uploaded_listed_and_deleted(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG"):
        (tmp_path / name).write_bytes(b"x")
    files = [str(tmp_path / name) for name in ("a.png", "b.JPG")]
    replies = tuple(json_reply(upload_body(i), status=201) for i in (1, 2))
    result, asked = vader("uploads", "create", *files, replies=replies)
    assert [one.headers["Content-Type"] for one in asked] == ["image/png", "image/jpeg"]
    assert "upl_2" in result.stdout
    listed, _ = vader("uploads", "list", replies=(page(upload_body()),))
    assert "upl_1" in listed.stdout
    deleted, asked = vader("uploads", "delete", "upl_1", replies=(Reply(204),))
    assert (deleted.exit_code, asked[0].method, asked[0].path) == (0, "DELETE", "/v1/uploads/upl_1")


def test_an_upload_in_use_is_refused(tmp_path: Path) -> None:
    reply = problem_reply(409, "conflict", detail="The upload is in use by ps_1.")
    result, _ = vader("uploads", "delete", "upl_1", replies=(reply,))
    assert result.exit_code == 4
    assert "in use by ps_1" in result.stderr


@pytest.mark.parametrize("name", ["film.gif", "absent.png"])
def test_a_file_that_cannot_be_uploaded_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "film.gif").write_bytes(b"x")
    result, asked = vader("uploads", "create", str(tmp_path / name), replies=())
    assert result.exit_code == 5
    assert name in result.stderr
    assert asked == []


def test_a_job_file_may_name_first_images_beside_it(tmp_path: Path) -> None:
    (tmp_path / "first.png").write_bytes(b"pixels")
    job_file = tmp_path / "job.yaml"
    job_file.write_text("prompts: {inline: [{prompt: x, image: first.png}]}")
    replies = (json_reply(upload_body(), status=201), json_reply(job_body(), status=202))
    result, asked = vader("jobs", "create", "-f", str(job_file), replies=replies)
    assert result.exit_code == 0, result.output
    assert asked[0].body == b"pixels"
    assert json.loads(asked[1].body)["prompts"]["inline"][0]["image"] == "upl_1"
