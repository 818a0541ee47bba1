"""What a job left behind: metrics, evaluation, attempts, checkpoints, samples, and itself at its end."""

from __future__ import annotations

import math

import pytest
from fastapi.testclient import TestClient

from domain import api_keys, db, metrics
from domain.code_version import code_version
from domain.job_errors import JobError
from domain.job_status import Status
from domain.store import ObjectStore
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.teams import Team, post_job
from tests.trainer_lines import evaluation


@pytest.fixture
def succeeded(client: TestClient, store: ObjectStore) -> dict[str, str]:
    """The links of a job that ended well."""
    links: dict[str, str] = post_job(client, guards=[])["links"]
    outputs.succeed(store)
    return links


def test_a_job_that_ended_well_shows_its_verdict_adapter_and_spending(
    client: TestClient, succeeded: dict[str, str]
) -> None:
    job = client.get(succeeded["self"]).json()
    assert (job["status"], job["stop_reason"], job["terminal"]) == (
        "succeeded",
        "completed_steps",
        True,
    )
    assert job["allowed_actions"] == ["extend", "delete"]
    assert job["queue"] is None
    assert job["progress"] == {
        "fraction": 1.0,
        "step": 20,
        "steps_total": 20,
        "eta_at": None,
        "seconds_per_step": 2.0,
    }
    assert job["budget"]["reward_queries"]["used"] == 160
    assert job["budget"]["gpu_seconds"] == {"limit": None, "used": 43.0, "fraction": None}
    assert job["budget"]["evaluation_queries"] == 8
    assert job["budget"]["next_ceiling"] is None
    assert job["evaluation"]["verdict"] == "improved"
    assert job["evaluation"]["delta_ci95"] == [0.05, 0.15]
    assert job["evaluation"]["baseline_heldout_reward"] == 0.5
    needed = job["evaluation"]["pairs_needed"]
    assert (needed["prompts"], needed["pairs"], needed["half_width"]) == (7, 14, 0.05)
    assert job["latest_metrics"]["step"] == 20
    assert job["adapter"]["files_url"] == f"/v1/adapters/{job['adapter']['id']}/files"
    assert job["sheet"]["url"] == f"{succeeded['self']}/sheet"
    assert job["attempt"]["hardware"] == "cpu x2"
    assert job["code_version"] == code_version()
    assert job["error"] is None
    assert client.get("/v1/jobs").json()["data"][0]["status"] == "succeeded"


def test_a_running_job_tells_when_it_will_be_done(client: TestClient) -> None:
    job = post_job(client, budget={"max_steps": 20, "max_reward_queries": 100})
    lives.told(outputs.start(), *(trainer_lines.step(number) for number in (1, 2, 3, 4, 5)))
    shown = client.get(job["links"]["self"]).json()
    assert shown["status"] == "running"
    assert shown["phase"] == "training"
    assert shown["progress"]["fraction"] == 0.25
    assert shown["progress"]["eta_at"].endswith("Z")
    assert shown["budget"]["reward_queries"] == {"limit": 100, "used": 40, "fraction": 0.4}
    assert shown["budget"]["next_ceiling"] == "max_reward_queries"
    assert shown["poll_after_s"] == 2


def test_a_job_shows_its_best_periodic_evaluation_beside_the_newest(client: TestClient) -> None:
    self = post_job(client)["links"]["self"]
    assert client.get(self).json()["code_version"] is None
    claim = outputs.start()

    def shown() -> tuple[float, float | None, int | None]:
        found = client.get(self).json()["evaluation"]
        return found["heldout_reward"], found["best_heldout_reward"], found["best_step"]

    lives.told(claim, evaluation(kind="base", step=0, reward=0.5))
    assert shown() == (0.5, None, None)
    lives.told(claim, evaluation(kind="periodic", step=5, reward=0.6))
    lives.told(claim, evaluation(kind="periodic", step=10, reward=0.7))
    lives.told(claim, evaluation(kind="periodic", step=15, reward=0.65))
    assert shown() == (0.65, 0.7, 10)
    lives.told(claim, evaluation(kind="final", step=20, reward=0.8))
    assert shown() == (0.8, 0.7, 10)
    assert client.get("/v1/jobs").json()["data"][0]["evaluation"]["best_step"] == 10


def test_a_failed_job_tells_why_and_whose_fault_it_is(client: TestClient) -> None:
    job = post_job(client)
    claim = outputs.start()
    error = JobError(
        code="reward_not_finite", message="NaN.", hint="Lower it.", fault="user", retryable=False
    )
    lives.ended(claim, Status.FAILED, error=error)
    shown = client.get(job["links"]["self"]).json()
    assert (shown["status"], shown["stop_reason"]) == ("failed", "error")
    assert shown["error"] == {
        "code": "reward_not_finite",
        "fault": "user",
        "retryable": False,
        "message": "NaN.",
        "hint": "Lower it.",
        "step": 0,
        "attempt": 1,
        "last_checkpoint": None,
    }


def test_metrics_are_drawn_over_any_axis(client: TestClient, succeeded: dict[str, str]) -> None:
    path = succeeded["metrics"]
    everything = client.get(path).json()
    keys = {series["key"] for series in everything["series"]}
    assert {"reward", "loss", "heldout_reward", "reward.tiny-action@1"} <= keys
    [reward] = client.get(path, params={"key": "reward"}).json()["series"]
    assert reward["x"] == list(range(1, 21))
    assert reward["y"][4] == pytest.approx(0.05)
    over_queries = client.get(path, params={"key": "reward", "x": "reward_queries"}).json()
    assert over_queries["series"][0]["x"] == [8 * step for step in range(1, 21)]
    thinned = client.get(path, params={"key": ["reward", "loss"], "max_points": 5}).json()
    assert [series["x"][-1] for series in thinned["series"]] == [20, 20]
    assert all(len(series["x"]) <= 5 for series in thinned["series"])
    assert {(series["total"], series["downsampled"]) for series in thinned["series"]} == {
        (20, True)
    }
    assert (everything["downsampled"], thinned["downsampled"]) == (False, True)
    stretch: dict[str, str | int] = {"key": "reward", "x": "reward_queries", "from": 40, "to": 80}
    [part] = client.get(path, params=stretch).json()["series"]
    assert (part["x"], part["total"]) == ([40, 48, 56, 64, 72, 80], 6)
    assert client.get(path, params={"key": "none"}).json()["series"] == []
    assert client.get(path, params={"x": "moon"}).status_code == 422


def test_evaluations_are_listed_with_the_final_verdict(
    client: TestClient, succeeded: dict[str, str]
) -> None:
    body = client.get(succeeded["evaluation"]).json()
    assert [found["kind"] for found in body["rounds"]] == ["base", "final"]
    assert body["verdict"] == "improved"
    assert body["final"]["difference"]["delta"] == pytest.approx(0.1)
    assert body["final"]["pairs_needed"]["pairs"] == 14
    assert body["rounds"][0]["difference"] is None
    assert body["rounds"][0]["pairs_needed"] is None


def test_attempts_tell_hardware_versions_and_outcome(
    client: TestClient, succeeded: dict[str, str]
) -> None:
    [attempt] = client.get(succeeded["attempts"]).json()["data"]
    assert (attempt["number"], attempt["outcome"]) == (1, "succeeded")
    assert attempt["environment"]["versions"] == {"torch": "2.13.0"}
    assert attempt["code_version"] == code_version()
    assert "worker" not in attempt


def test_checkpoints_are_listed_newest_first(client: TestClient, succeeded: dict[str, str]) -> None:
    rows = client.get(succeeded["checkpoints"]).json()["data"]
    assert [row["step"] for row in rows] == [20, 10]
    assert rows[0]["size_bytes"] == 30
    assert rows[0]["id"].startswith("ck_")


def test_checkpoints_come_in_pages(client: TestClient) -> None:
    path = post_job(client)["links"]["checkpoints"]
    lives.checkpointed(outputs.start(), range(1, 6))
    first = client.get(path, params={"limit": 2})
    assert [row["step"] for row in first.json()["data"]] == [5, 4]
    second = client.get(first.headers["Link"].split("<")[1].split(">")[0])
    assert [row["step"] for row in second.json()["data"]] == [3, 2]
    cursor = second.json()["next_cursor"]
    last = client.get(path, params={"cursor": cursor, "limit": 2}).json()
    assert [row["step"] for row in last["data"]] == [1]
    assert (last["has_more"], last["next_cursor"]) == (False, None)
    other = post_job(client)["links"]["checkpoints"]
    for wrong in (client.get(other, params={"cursor": cursor}), client.get(f"{path}?cursor=x")):
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")


def test_values_that_are_no_numbers_are_null(client: TestClient) -> None:
    path = post_job(client)["links"]["metrics"]
    claim = outputs.start()
    place = {
        "job_id": claim.job_id,
        "attempt": 1,
        "at": trainer_lines.BEGAN,
        "reward_queries": 8,
        "gpu_seconds": 1.0,
        "wall_s": 1.0,
    }
    with db.transaction() as session:
        for step, value in enumerate((math.nan, math.inf, 0.5), start=1):
            metrics.put(session, place={**place, "step": step}, values={"grad_norm": value})
    [series] = client.get(path, params={"key": "grad_norm"}).json()["series"]
    assert series["y"] == [None, None, 0.5]


def test_one_checkpoint_shows_its_files(client: TestClient, succeeded: dict[str, str]) -> None:
    [newest, _] = client.get(succeeded["checkpoints"]).json()["data"]
    path = f"{succeeded['checkpoints']}/{newest['id']}"
    shown = client.get(path).json()
    names = [file["path"] for file in shown["files"]]
    assert names == ["adapter/adapter_model.safetensors", "state.json", "manifest.json"]
    assert {name: shown[name] for name in newest} == newest
    other = post_job(client)["links"]["checkpoints"]
    assert client.get(f"{other}/{newest['id']}").json()["code"] == "not_found"
    assert client.get(f"{other}/ck_1").json()["code"] == "not_found"


def test_samples_come_in_pairs_and_can_be_narrowed(
    client: TestClient, succeeded: dict[str, str]
) -> None:
    rows = client.get(succeeded["samples"]).json()["data"]
    assert [row["role"] for row in rows] == ["base", "adapter"]
    assert len({row["pair"] for row in rows}) == 1
    assert client.get(succeeded["samples"], params={"step": 7}).json()["data"] == []
    narrowed = client.get(succeeded["samples"], params={"prompt_id": "p_1", "step": 20})
    assert len(narrowed.json()["data"]) == 2


def test_videos_are_for_those_who_may_read_files_and_while_they_are_there(
    client: TestClient, team: Team, succeeded: dict[str, str]
) -> None:
    with db.transaction() as session:
        _, token = api_keys.create(
            session, project_id=team.project_id, name="sees", scopes=["jobs:read"]
        )
    onlooker = {"Authorization": f"Bearer {token}"}
    rows = client.get(succeeded["samples"], headers=onlooker).json()["data"]
    assert [(row["role"], row["url"], row["url_expires_at"]) for row in rows] == [
        ("base", None, None),
        ("adapter", None, None),
    ]
    assert all(row["url"] for row in client.get(succeeded["samples"]).json()["data"])
    assert client.delete(succeeded["self"]).status_code == 200
    gone = client.get(succeeded["samples"])
    assert (gone.status_code, gone.json()["code"]) == (410, "artifact_expired")


def test_a_new_job_has_left_nothing_yet(client: TestClient) -> None:
    links = post_job(client)["links"]
    for name in ("samples", "checkpoints", "attempts"):
        assert client.get(links[name]).json() == {
            "data": [],
            "next_cursor": None,
            "has_more": False,
        }
    assert client.get(links["metrics"]).json()["series"] == []
    assert client.get(links["evaluation"]).json()["rounds"] == []
    assert client.get(f"{links['self']}/sheet").json()["code"] == "not_found"
