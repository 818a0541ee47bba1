"""Members of a project, one by one."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.api.teams import new_key


def test_a_member_reads_alike_alone_and_in_the_list(client: TestClient) -> None:
    wish = {"email": "ada@example.com", "name": "Ada", "role": "editor"}
    made = client.post("/v1/members", json=wish, headers=new_key()).json()
    alone = client.get(f"/v1/members/{made['id']}")
    assert alone.status_code == 200
    assert {name: alone.json()[name] for name in wish} == wish
    assert client.get("/v1/members").json()["data"] == [alone.json()]
