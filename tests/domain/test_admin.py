from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain import admin, api_keys, audit_log, db, members, projects
from domain.audit_log import Filters
from domain.errors import InvalidApiKey
from domain.ids import to_public
from domain.settings import get_settings
from tests import lives

ROOT = Path(__file__).parents[2]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert admin.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    return dict(json.loads(printed))


@pytest.mark.usefixtures("settings")
def test_a_key_can_be_made_together_with_its_project(capsys: pytest.CaptureFixture[str]) -> None:
    made = answer(capsys, "create-key", "--project", "ads", "--name", "ci", "--json")
    again = answer(capsys, "create-key", "--project", "ads", "--name", "ci")
    assert made["project_id"] == again["project_id"]
    assert made["api_key"] != again["api_key"]
    with db.transaction() as session:
        caller = api_keys.verify(session, made["api_key"])
        assert to_public("prj", projects.by_name(session, "ads").id) == made["project_id"]
    assert caller.name == "ci"


@pytest.mark.usefixtures("settings")
def test_a_key_can_be_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    made = answer(capsys, "create-key", "--project", "ads", "--name", "ci")
    assert answer(capsys, "revoke-key", "--project", "ads", "--key", made["key_id"])["revoked"]
    with pytest.raises(InvalidApiKey), db.transaction() as session:
        api_keys.verify(session, made["api_key"])
    assert admin.main(["revoke-key", "--project", "ads", "--key", "key_none"]) == 1


@pytest.mark.usefixtures("settings")
def test_a_projects_name_can_be_taken_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "create-project", "--name", "ads")["project_id"].startswith("prj_")
    assert admin.main(["create-project", "--name", "ads"]) == 1
    assert "already" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_preparing_twice_is_preparing_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "prepare") == answer(capsys, "prepare") == {"prepared": True}
    assert get_settings().store_place.folder.is_dir()


def test_an_empty_database_is_migrated_from_the_command_line(
    settings: object, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADER_DATABASE_URL", empty_database_url)
    command = [sys.executable, "-m", "domain.admin", "migrate"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"migrated": True})


def test_faulty_settings_are_told_and_not_thrown(
    capsys: pytest.CaptureFixture[str], settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lives.changed_settings(monkeypatch, lease_s="never"):
        assert admin.main(["migrate"]) == 1
    assert "VADER_LEASE_S" in capsys.readouterr().err


def test_wrong_usage_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        admin.main(["create-key"])
    assert ended.value.code == 2
    assert "--project" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_a_key_can_be_made_with_fewer_scopes(capsys: pytest.CaptureFixture[str]) -> None:
    made = answer(
        capsys,
        *("create-key", "--project", "ads", "--name", "ci"),
        *("--scope", "jobs:read", "--scope", "usage:read"),
    )
    assert made["scopes"] == ["jobs:read", "usage:read"]


@pytest.mark.usefixtures("settings")
def test_quotas_are_set_one_by_one_and_go_back_to_the_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer(capsys, "create-project", "--name", "ads")
    of_ads = ("set-quota", "--project", "ads")
    first = answer(capsys, *of_ads, "--running-jobs", "4", "--storage-bytes", "0")
    assert (first["running_jobs"], first["storage_bytes"], first["queued_jobs"]) == (4, 0, 1000)
    second = answer(capsys, *of_ads, "--running-jobs", "default", "--queued-jobs", "5")
    assert (second["running_jobs"], second["storage_bytes"], second["queued_jobs"]) == (None, 0, 5)
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(SystemExit):
            admin.main([*of_ads, "--queued-jobs", wrong])


@pytest.mark.usefixtures("settings", "cheap_passwords")
def test_the_first_member_of_a_project_is_invited_by_an_operator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer(capsys, "create-project", "--name", "ads")
    who = ("--email", "ada@example.com", "--name", "Ada", "--role", "admin")
    made = answer(capsys, "invite", "--project", "ads", *who)
    with db.transaction() as session:
        token = str(made["invitation_token"])
        member = members.accept(session, token=token, password="a long and private phrase")
        assert (to_public("mem", member.id), member.role) == (made["member_id"], "admin")
        found = audit_log.list_entries(
            session, project_id=member.project_id, filters=Filters(), cursor=None, limit=9
        )
    assert [(entry.actor_type, entry.action) for entry in found.items] == [
        ("operator", "member.invite"),
        ("operator", "project.create"),
    ]
