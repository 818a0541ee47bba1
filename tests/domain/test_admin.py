from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain import admin, api_keys, db, projects
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
