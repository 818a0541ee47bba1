"""What belongs to another project does not exist: 404 on every route with an id."""

from __future__ import annotations

from fastapi.testclient import TestClient

from domain.store import ObjectStore
from tests.api import outputs
from tests.api.files import upload
from tests.api.teams import Team, new_key, post_job
from tests.factories import document

# Ids that belong to no project: rows of the catalogue, kinds of problems, signed objects.
OF_EVERYBODY = {"base_model_id", "reward_id", "method_id", "kind", "key"}


def ids_of(client: TestClient, store: ObjectStore) -> dict[str, str]:
    """An id of every kind that `client`'s project owns, by the name of its path parameter."""
    prompts = {"name": "ways", "prompts": document()["prompts"]["inline"]}
    made = client.post("/v1/prompt-sets", json=prompts, headers=new_key()).json()
    job = post_job(client)
    outputs.succeed(store)
    job = client.get(job["links"]["self"]).json()
    sample = client.get(job["links"]["samples"]).json()["data"][0]
    video = {"sample": sample["id"], "prompt": sample["prompt"]}
    scoring = client.post("/v1/rewards/motion/score", json={"videos": [video]}, headers=new_key())
    return {
        "job_id": job["id"],
        "adapter_id": job["adapter"]["id"],
        "sample_id": sample["id"],
        "prompt_set_id": made["id"],
        "path": "adapter_config.json",
        "upload_id": upload(client),
        "scoring_id": scoring.json()["id"],
    }


def routes_with_ids(client: TestClient) -> list[tuple[str, str]]:
    """Method and path of every route that names something a project owns."""
    paths = client.get("/openapi.json").json()["paths"]
    return [
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if "{" in path and not any(f"{{{name}}}" in path for name in OF_EVERYBODY)
    ]


def test_every_route_hides_what_other_projects_own(
    client: TestClient, other_team: Team, store: ObjectStore
) -> None:
    ids = ids_of(client, store)
    routes = routes_with_ids(client)
    assert len(routes) >= 14
    for method, path in routes:
        # A KeyError here: a route with a new kind of id needs one in `ids_of`.
        url = path.format(**ids)
        theirs = client.request(method, url, headers={**new_key(), **other_team.headers})
        ours = client.request(method, url, headers=new_key())
        assert ours.status_code in {200, 204, 302, 409}, (method, url, ours.text)
        assert theirs.status_code == 404, (method, url, theirs.text)
        assert theirs.json()["code"] == "not_found"


def test_no_such_id_reads_like_another_projects_id(client: TestClient, other_team: Team) -> None:
    job_id = post_job(client)["id"]
    theirs = client.get(f"/v1/jobs/{job_id}", headers=other_team.headers).json()
    nobody = job_id[:-1] + ("0" if job_id[-1] != "0" else "1")
    missing = client.get(f"/v1/jobs/{nobody}", headers=other_team.headers).json()
    assert theirs["detail"].replace(job_id, "X") == missing["detail"].replace(nobody, "X")


def test_ids_of_the_wrong_kind_or_form_are_not_found(client: TestClient) -> None:
    job_id = post_job(client)["id"]
    for wrong in (job_id.replace("job_", "ad_"), job_id.upper(), "job_", "%00", "..", "x" * 2000):
        assert client.get(f"/v1/jobs/{wrong}/attempts").status_code == 404, wrong
