"""Trying a reward on videos: asked for, refused with every fault, waited for, shown."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from domain import db, quotas
from domain.store import ObjectStore
from tests import scoring_lives
from tests.api import outputs
from tests.api.files import MP4, upload
from tests.api.teams import Team, new_key, post_job
from vader_core.catalogue import BUILT_IN


def ask(client: TestClient, reward: str = "tiny-text-match", **body: Any) -> Any:
    return client.post(f"/v1/rewards/{reward}/score", json=body, headers=new_key())


def asked(client: TestClient, *videos: dict[str, Any], reward: str = "tiny-text-match") -> Any:
    """The body of a scoring that was accepted."""
    answer = ask(client, reward, videos=list(videos))
    assert answer.status_code == 202, answer.text
    return answer.json()


@pytest.fixture
def video(client: TestClient) -> dict[str, Any]:
    return {"upload": upload(client, MP4, "video/mp4"), "prompt": "a red square"}


def faults(answer: Any) -> set[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]}


def test_a_scoring_is_accepted_and_shown(client: TestClient, video: dict[str, Any]) -> None:
    answer = ask(client, "tiny-text-match@1", videos=[video])
    body = answer.json()
    assert answer.status_code == 202, answer.text
    assert body["id"].startswith("scr_")
    assert answer.headers["Location"] == body["links"]["self"] == f"/v1/scorings/{body['id']}"
    assert (body["status"], body["terminal"], body["scores"]) == ("queued", False, None)
    reward = {name: body["reward"][name] for name in ("name", "version", "per", "range")}
    assert reward == {
        "name": "tiny-text-match@1",
        "version": "1",
        "per": "frame",
        "range": [-1.0, 1.0],
    }
    assert body["videos"] == [
        {**video, "sample": None, "target": None, "score": None, "reason": None}
    ]
    found = client.get(body["links"]["self"])
    assert found.json() == body
    assert found.headers["Retry-After"] == str(body["poll_after_s"])
    assert "key" not in str(body["videos"])


def test_a_month_that_is_used_up_refuses_scorings(
    client: TestClient, video: dict[str, Any], team: Team
) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, gpu_seconds_a_month=0)
    answer = ask(client, videos=[video])
    assert (answer.status_code, answer.json()["quota"]) == (403, "gpu_seconds_a_month")
    assert ask(client, videos=[]).status_code == 422, "faults are told first"


def test_a_kept_sample_of_a_job_can_be_scored(client: TestClient, store: ObjectStore) -> None:
    job = post_job(client)
    outputs.succeed(store)
    sample = client.get(job["links"]["samples"]).json()["data"][0]
    body = asked(client, {"sample": sample["id"], "prompt": sample["prompt"]})
    assert body["videos"][0]["sample"] == sample["id"]
    claim = scoring_lives.claimed()
    assert claim.videos[0]["sha256"] == sample["sha256"]


def test_scores_and_reasons_stand_beside_their_videos(
    client: TestClient, video: dict[str, Any]
) -> None:
    path = asked(client, video, {**video, "prompt": "a blue square"})["links"]["self"]
    reason = {"code": "unreadable", "message": "It cannot be read."}
    scores = [{"score": 0.25, "reason": None}, {"score": None, "reason": reason}]
    scoring_lives.succeeded(scoring_lives.claimed(), {**scoring_lives.RESULT, "scores": scores})
    body = client.get(path).json()
    assert (body["status"], body["terminal"], body["poll_after_s"]) == ("succeeded", True, None)
    assert body["scores"] == [0.25, None]
    assert [one["reason"] for one in body["videos"]] == [None, reason]
    assert (body["seconds"], body["device"], body["error"]) == (1.5, "cpu", None)


def test_a_failure_says_why(client: TestClient, video: dict[str, Any]) -> None:
    path = asked(client, video)["links"]["self"]
    scoring_lives.failed(scoring_lives.claimed(), retryable=False)
    body = client.get(path).json()
    assert (body["status"], body["error"]["code"]) == ("failed", "scorer_crashed")
    assert body["scores"] is None


def test_all_faults_come_at_once(client: TestClient, other_team: Team) -> None:
    headers = {**new_key(), **other_team.headers, "Content-Type": "video/mp4"}
    foreign = client.post("/v1/uploads", content=MP4, headers=headers).json()["id"]
    image, known = upload(client), upload(client, MP4, "video/mp4")
    prompt, target = "a red square", "moving left"
    videos: list[dict[str, Any]] = [
        {"upload": foreign, "prompt": prompt, "target": target},
        {"upload": image, "prompt": prompt, "target": target},
        {"sample": "smp_nothing", "prompt": prompt, "target": "moving lft"},
        {"upload": known, "sample": "x", "prompt": prompt, "target": target},
        {"upload": known, "prompt": " ", "target": target},
        {"upload": known, "prompt": prompt},
        {"upload": known, "prompt": prompt, "target": target, "lable": "x"},
    ]
    answer = ask(client, "tiny-action", videos=videos, params={"speed": 2}, extra=1)
    assert faults(answer) == {
        ("/videos/0/upload", "unknown_video"),
        ("/videos/1/upload", "not_a_video"),
        ("/videos/2/sample", "unknown_video"),
        ("/videos/2/target", "unknown_target"),
        ("/videos/3", "value_error"),
        ("/videos/4/prompt", "string_pattern_mismatch"),
        ("/videos/5/target", "unknown_target"),
        ("/videos/6/lable", "unknown_field"),
        ("/params/speed", "unknown_param"),
        ("/extra", "unknown_field"),
    }


@pytest.mark.parametrize("body", [{}, {"videos": []}, {"videos": {}}, {"videos": [1]}, [], "x"])
def test_a_body_that_names_no_videos_is_refused(client: TestClient, body: object) -> None:
    answer = client.post("/v1/rewards/motion/score", json=body, headers=new_key())
    assert answer.status_code == 422


def test_more_than_eight_videos_are_refused(client: TestClient, video: dict[str, Any]) -> None:
    assert faults(ask(client, videos=[video] * 9)) == {("/videos", "too_long")}
    assert len(asked(client, *[video] * 8)["videos"]) == 8


def test_a_reward_that_compares_needs_two_videos_of_every_prompt(
    client: TestClient, video: dict[str, Any]
) -> None:
    other = {**video, "prompt": "another"}
    answer = ask(client, "diversity", videos=[video, video, other])
    assert faults(answer) == {("/videos/2/prompt", "too_few_videos")}
    assert asked(client, video, video, reward="diversity")["status"] == "queued"


def test_a_reward_that_needs_the_base_models_own_videos_cannot_be_tried(
    client: TestClient, video: dict[str, Any]
) -> None:
    (name,) = (row.id for row in BUILT_IN.rewards.values() if row.needs_reference)
    assert faults(ask(client, name, videos=[video])) == {("", "needs_reference")}


def test_a_reward_that_is_unknown_or_not_installed_is_told(
    app: FastAPI, client: TestClient, video: dict[str, Any]
) -> None:
    row = BUILT_IN.rewards["tiny-text-match"]
    absent = row.model_copy(update={"id": "absent", "folder": row.folder and row.folder / "none"})
    rewards = {**BUILT_IN.rewards, "absent": absent}
    app.state.catalogue = BUILT_IN.model_copy(update={"rewards": rewards})
    assert ask(client, "no-such", videos=[video]).status_code == 404
    assert faults(ask(client, "absent", videos=[video])) == {("", "weights_not_installed")}


def test_a_repeated_request_is_the_same_scoring(client: TestClient, video: dict[str, Any]) -> None:
    headers = new_key()
    first, again = (
        client.post("/v1/rewards/motion/score", json={"videos": [video]}, headers=headers)
        for _ in range(2)
    )
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"


def test_an_unchanged_scoring_is_not_sent_again(client: TestClient, video: dict[str, Any]) -> None:
    path = asked(client, video)["links"]["self"]
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    scoring_lives.succeeded(scoring_lives.claimed())
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_a_waiting_read_is_answered_when_the_scoring_ends(
    client: TestClient, video: dict[str, Any]
) -> None:
    path = asked(client, video)["links"]["self"]
    claim = scoring_lives.claimed()
    ending = threading.Timer(0.3, scoring_lives.succeeded, [claim])
    ending.start()
    started = time.monotonic()
    answer = client.get(path, headers={"Prefer": "wait=30"})
    ending.join()
    assert time.monotonic() - started < 25
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert answer.json()["status"] == "succeeded"


def test_a_video_of_a_scoring_that_has_not_ended_cannot_be_removed(
    client: TestClient, video: dict[str, Any]
) -> None:
    body = asked(client, video)
    path = f"/v1/uploads/{video['upload']}"
    assert client.delete(path).json()["used_by"] == [body["id"]]
    scoring_lives.succeeded(scoring_lives.claimed())
    assert client.delete(path).status_code == 204
    assert client.get(body["links"]["self"]).json()["scores"] == [0.5]


def test_another_project_can_neither_see_nor_score_what_is_ours(
    client: TestClient, other_team: Team, video: dict[str, Any], store: ObjectStore
) -> None:
    body = asked(client, video)
    theirs = {**new_key(), **other_team.headers}
    assert client.get(body["links"]["self"], headers=theirs).status_code == 404
    waiting = {**theirs, "Prefer": "wait=5"}
    assert client.get(body["links"]["self"], headers=waiting).status_code == 404
    post_job(client)
    outputs.succeed(store)
    job = client.get("/v1/jobs").json()["data"][0]
    sample = client.get(job["links"]["samples"]).json()["data"][0]["id"]
    asked_for = {"videos": [video, {"sample": sample, "prompt": "x"}]}
    answer = client.post("/v1/rewards/motion/score", json=asked_for, headers=theirs)
    assert faults(answer) == {
        ("/videos/0/upload", "unknown_video"),
        ("/videos/1/sample", "unknown_video"),
    }


def test_a_document_with_illegal_text_is_refused(client: TestClient, video: dict[str, Any]) -> None:
    answer = ask(client, videos=[{**video, "prompt": "a\0b"}])
    assert ("/videos/0/prompt", "illegal_character") in faults(answer)
