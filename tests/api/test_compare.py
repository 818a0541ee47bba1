"""Jobs side by side: what was asked for, what was reached by equal spending, and whether to believe it."""

from __future__ import annotations

import statistics
from typing import Any, Literal

import pytest
from fastapi.testclient import TestClient

from domain import artifacts, db
from domain.claims import Claim
from domain.job_status import Status
from domain.store import ObjectStore
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.teams import Team, make_team, new_key, post_job
from tests.factories import document
from vader_core.lines import GuardResult, PairScore
from vader_core.statistics import paired_difference, verdict

PATH = "/v1/jobs/compare"
PROMPTS = tuple(f"p_{number}" for number in range(6))
REWARD = "tiny-action"
# What luck adds to each prompt's score.
LUCK = (0.0, 0.02, -0.01, 0.03, 0.01, -0.02)


def scored(
    level: float, *, prompts: tuple[str, ...] = PROMPTS, seeds: tuple[int, ...] = (11, 12)
) -> list[PairScore]:
    return [
        PairScore(prompt_id=prompt, seed=seed, score=level + luck, rewards={REWARD: level + luck})
        for prompt, luck in zip(prompts, LUCK, strict=True)
        for seed in seeds
    ]


def train(
    levels: dict[int, list[PairScore]], *, queries_per_step: int = 8, end: bool = True
) -> Claim:
    """The next waiting job, evaluated at these steps."""
    claim = outputs.start()
    last = max(levels)
    for number in range(last + 1):
        if number:
            told = trainer_lines.step(number, reward_queries=queries_per_step * number)
            lives.told(claim, told)
        if number in levels:
            queries = queries_per_step * number
            told_of = evaluation(levels[number], number, last=last, reward_queries=queries)
            lives.told(claim, told_of)
    if end:
        done = trainer_lines.done(step=last)
        lives.told(claim, done)
        with db.transaction() as session:
            artifacts.add_adapter(
                session, job_id=claim.job_id, attempt=claim.attempt, line=done, prefix="adapters/1"
            )
        lives.ended(claim, Status.SUCCEEDED)
    return claim


def evaluation(scores: list[PairScore], step: int, *, last: int, reward_queries: int = 80) -> Any:
    kind: Literal["base", "periodic", "final"]
    kind = "base" if step == 0 else "final" if step == last else "periodic"
    line = trainer_lines.evaluation(kind=kind, step=step)
    mean = statistics.fmean(pair.score for pair in scores) if scores else 0.5
    measured = {"scores": scores, "heldout_reward": mean, "reward_queries": reward_queries}
    return line.model_copy(update=measured)


def compared(client: TestClient, *jobs: dict[str, Any], **params: str) -> dict[str, Any]:
    ids = ",".join(job["id"] for job in jobs)
    answer = client.get(PATH, params={"ids": ids, **params})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def codes(remarks: list[dict[str, str]]) -> set[str]:
    return {remark["code"] for remark in remarks}


@pytest.fixture
def two(client: TestClient) -> list[dict[str, Any]]:
    """Two jobs over the same held-out videos: the second learns more slowly, and spends twice as much a step."""
    first = post_job(client, method={"type": "reward_gradient", "learning_rate": 1e-4}, guards=[])
    train({0: scored(0.5), 10: scored(0.6), 20: scored(0.7)})
    second = post_job(client, method={"type": "reward_gradient", "learning_rate": 5e-5}, guards=[])
    train(
        {0: scored(0.5), 5: scored(0.55), 10: scored(0.52), 20: scored(0.68)}, queries_per_step=16
    )
    return [first, second]


def test_jobs_are_compared_pair_by_pair_at_equal_reward_queries(
    client: TestClient, two: list[dict[str, Any]]
) -> None:
    found = compared(client, *two)
    assert found["jobs"] == [job["id"] for job in two]
    assert (found["key"], found["x"], found["comparable"]) == (
        "heldout_reward",
        "reward_queries",
        True,
    )
    assert found["reasons"] == []
    places = found["at_equal_x"]
    assert [place["x"] for place in places] == [0, 80, 160]
    at_80 = places[1]
    assert (at_80["steps"], at_80["measured_at"]) == ([10, 5], [80, 80])
    expected = paired_difference(
        [pair.score for pair in scored(0.6)],
        [pair.score for pair in scored(0.55)],
        prompt_ids=[pair.prompt_id for pair in scored(0.6)],
    )
    assert at_80["delta"] == pytest.approx(expected.delta)
    assert at_80["delta_ci95"] == pytest.approx(expected.delta_ci95)
    assert at_80["verdict"] == verdict(expected) == "worse"
    assert (at_80["basis"], at_80["prompts"]) == ("paired", 6)
    assert places[0]["verdict"] == "no_clear_difference"


def test_nothing_is_extrapolated_beyond_the_shorter_job(
    client: TestClient, two: list[dict[str, Any]]
) -> None:
    by_queries = compared(client, *two)["at_equal_x"]
    assert by_queries[-1]["x"] == 160
    assert by_queries[-1]["steps"] == [20, 10]
    by_step = compared(client, *two, x="step")["at_equal_x"]
    assert [place["x"] for place in by_step] == [0, 10, 20]
    assert by_step[-1]["values"] == pytest.approx([0.705, 0.685])


def test_a_value_from_before_x_is_told_as_such(client: TestClient) -> None:
    first = post_job(client)
    train({0: scored(0.5), 10: scored(0.6)})
    second = post_job(client)
    train({0: scored(0.5), 7: scored(0.58), 15: scored(0.66)})
    found = compared(client, first, second, x="step")
    last = found["at_equal_x"][-1]
    assert (last["x"], last["steps"], last["measured_at"]) == (10, [10, 7], [10, 7])
    assert "measured_earlier" in codes(found["caveats"])


def test_series_costs_and_spec_differences_stand_beside_each_other(
    client: TestClient, two: list[dict[str, Any]]
) -> None:
    found = compared(client, *two)
    assert found["series"][0]["x"] == [0, 80, 160]
    assert found["series"][1]["x"] == [0, 80, 160, 320]
    assert found["series"][0]["y"][-1] == pytest.approx(0.705)
    assert [cost["reward_queries"] for cost in found["cost"]] == [160, 320]
    assert found["spec_diff"] == [
        {"pointer": "/method/learning_rate", "values": [1e-4, 5e-5]},
    ]


def test_one_reward_of_the_sum_can_be_compared_where_the_sums_cannot(client: TestClient) -> None:
    first = post_job(client)
    train({0: scored(0.5), 10: scored(0.6)})
    second = post_job(client, rewards=[{"reward": "tiny-action", "weight": 3.0}])
    train({0: scored(0.5), 10: scored(0.8)})
    by_sum = compared(client, first, second)
    assert by_sum["comparable"] is False
    assert codes(by_sum["reasons"]) == {"different_rewards"}
    last = by_sum["at_equal_x"][-1]
    assert last["delta"] == pytest.approx(0.2)
    assert (last["delta_ci95"], last["verdict"], last["basis"]) == (None, None, None)
    by_reward = compared(client, first, second, key=f"heldout_reward.{REWARD}")
    assert by_reward["comparable"] is True
    assert by_reward["at_equal_x"][-1]["verdict"] == "improved"


def test_what_cannot_be_compared_is_said_with_every_reason(client: TestClient) -> None:
    first = post_job(client)
    train({0: scored(0.5), 10: scored(0.6)})
    second = post_job(
        client,
        base_model="tiny-wan",
        video={"num_frames": 5},
        evaluation={"seeds": [1, 2]},
    )
    other = tuple(f"p_9{number}" for number in range(6))
    train({0: scored(0.5, prompts=other), 10: scored(0.6, prompts=other)})
    found = compared(client, first, second)
    assert found["comparable"] is False
    assert codes(found["reasons"]) == {
        "different_base_models",
        "different_videos",
        "different_seeds",
        "different_heldout_prompts",
    }
    assert found["at_equal_x"][-1]["basis"] == "unpaired"
    assert "unpaired" in codes(found["caveats"])


def test_held_out_prompts_that_some_share_are_paired_over_those(client: TestClient) -> None:
    first = post_job(client)
    train({0: scored(0.5), 10: scored(0.6)})
    second = post_job(client)
    some = (*PROMPTS[:4], "p_x", "p_y")
    train({0: scored(0.5, prompts=some), 10: scored(0.7, prompts=some)})
    found = compared(client, first, second)
    assert codes(found["reasons"]) == {"different_heldout_prompts"}
    last = found["at_equal_x"][-1]
    assert (last["basis"], last["prompts"], last["verdict"]) == ("paired", 4, "no_clear_difference")


def test_the_first_of_several_jobs_is_held_against_each_other(client: TestClient) -> None:
    jobs = []
    for level in (0.6, 0.7, 0.8):
        jobs.append(post_job(client))
        train({0: scored(0.5), 10: scored(level)})
    places = [place for place in compared(client, *jobs)["at_equal_x"] if place["x"] == 80]
    assert [place["jobs"] for place in places] == [
        [jobs[0]["id"], jobs[1]["id"]],
        [jobs[0]["id"], jobs[2]["id"]],
    ]
    assert [place["delta"] for place in places] == pytest.approx([0.1, 0.2])


def test_other_metrics_have_values_without_intervals(
    client: TestClient, two: list[dict[str, Any]]
) -> None:
    found = compared(client, *two, key="reward", x="step")
    assert found["comparable"] is True
    assert "no_interval" in codes(found["caveats"])
    assert len(found["at_equal_x"]) <= 20
    assert found["at_equal_x"][-1]["x"] == 20
    assert {place["verdict"] for place in found["at_equal_x"]} == {None}


def test_other_prompts_are_a_reason_whatever_the_metric(client: TestClient) -> None:
    first = post_job(client)
    train({0: scored(0.5), 10: scored(0.6)})
    second = post_job(
        client,
        prompts={
            "inline": [
                {"prompt": "a green ball", "target": "moving left", "heldout": False},
                {"prompt": "a blue box", "target": "moving up", "heldout": True},
            ]
        },
    )
    claim = train({10: []}, end=False)
    found = compared(client, first, second, key="reward")
    assert found["comparable"] is False
    both = {"different_training_prompts", "different_heldout_prompts"}
    assert codes(found["reasons"]) == both
    others = tuple(f"p_9{number}" for number in range(6))
    lives.told(claim, evaluation(scored(0.6, prompts=others), 10, last=20))
    told = compared(client, first, second, key="reward")["reasons"]
    assert codes(told) == both
    assert "0 of 12 are shared" in told[-1]["detail"]
    assert compared(client, first, second, key="seconds")["comparable"] is False


def test_jobs_without_values_are_not_comparable_yet(client: TestClient) -> None:
    first = post_job(client)
    train({0: scored(0.5), 10: scored(0.6)})
    second = post_job(client)
    found = compared(client, first, second)
    assert (found["comparable"], found["at_equal_x"]) == (False, [])
    assert codes(found["reasons"]) == {"no_values"}
    assert second["id"] in found["reasons"][0]["detail"]
    assert "not_ended" in codes(found["caveats"])


def test_guards_and_videos_of_shared_pairs_are_shown(
    client: TestClient, store: ObjectStore
) -> None:
    jobs = []
    for ratio in (0.97, 0.7):
        jobs.append(post_job(client, guards=[{"reward": "motion", "min_ratio_to_base": 0.9}]))
        claim = outputs.succeed(store, evaluation=guarded(ratio))
        assert claim.attempt == 1
    found = compared(client, *jobs)
    assert found["guards"] == [
        {
            "reward": "motion@1",
            "rules": ["ratio", "ratio"],
            "values": [0.97, 0.7],
            "threshold": 0.9,
            "ok": [True, False],
        }
    ]
    [pair] = found["samples"]
    assert (pair["prompt_id"], pair["seed"], len(pair["videos"])) == ("p_1", 11, 2)
    for url in (pair["base"], *pair["videos"]):
        assert client.get(url).status_code == 302


def guarded(ratio: float) -> Any:
    guard = GuardResult(
        reward="motion@1",
        base=1.0,
        adapter=ratio,
        ratio_to_base=ratio,
        min_ratio_to_base=0.9,
        ok=ratio >= 0.9,
    )
    return trainer_lines.evaluation().model_copy(update={"guards": [guard]})


def test_long_prompts_are_told_apart_by_their_hash(client: TestClient) -> None:
    prompts = document()["prompts"]["inline"]
    first = post_job(client)
    more = [{"prompt": f"a red circle {n}", "target": "moving left"} for n in range(20)]
    second = post_job(client, prompts={"inline": [*prompts, *more]})
    [inline] = [
        one
        for one in compared(client, first, second)["spec_diff"]
        if one["pointer"] == "/prompts/inline"
    ]
    assert inline["values"][1]["length"] == 24
    assert len(inline["values"][1]["sha256"]) == 64


@pytest.mark.parametrize(
    ("ids", "code"),
    [("job_1", "out_of_range"), (",".join("abcdefghi"), "out_of_range"), ("a,a", "duplicate")],
)
def test_between_two_and_eight_different_jobs_are_compared(
    client: TestClient, ids: str, code: str
) -> None:
    answer = client.get(PATH, params={"ids": ids})
    assert answer.status_code == 422
    assert [(f["parameter"], f["code"]) for f in answer.json()["errors"]] == [("ids", code)]


def test_jobs_of_others_do_not_exist_and_all_of_them_are_named(client: TestClient) -> None:
    mine = post_job(client)
    rivals: Team = make_team("other rivals")
    theirs = [
        client.post("/v1/jobs", json=document(), headers={**new_key(), **rivals.headers}).json()
        for _ in range(2)
    ]
    answer = client.get(PATH, params={"ids": ",".join(job["id"] for job in (mine, *theirs))})
    assert answer.status_code == 404
    assert all(job["id"] in answer.json()["detail"] for job in theirs)
    assert mine["id"] not in answer.json()["detail"]
