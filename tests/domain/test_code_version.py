"""The version that attempts are marked with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from domain import claims, db
from domain.code_version import VERSION, code_version
from domain.settings import SettingsInvalid, get_settings
from domain.tables import Attempt
from tests import lives

pytestmark = pytest.mark.usefixtures("settings")
PACKAGE = f"v{VERSION}"


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_it_names_the_package_and_the_commit_where_the_build_told_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert code_version() == PACKAGE
    with lives.changed_settings(monkeypatch, commit="3fa91c2b" * 5):
        assert code_version() == f"{PACKAGE}+g3fa91c2"


def test_what_is_no_commit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(SettingsInvalid, match="VADER_COMMIT"),
        lives.changed_settings(monkeypatch, commit="main"),
    ):
        get_settings()
    get_settings.cache_clear()


def test_every_attempt_keeps_the_version_of_the_worker_that_ran_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = lives.waiting()
    with lives.changed_settings(monkeypatch, commit="0000000"):
        first = lives.claimed()
    with db.transaction() as session:
        claims.release(session, job_id=job.id, attempt=first.attempt, reason="drained")
    lives.claimed()
    with db.read() as session:
        kept = [session.get_one(Attempt, (job.id, number)).code_version for number in (1, 2)]
    assert kept == [f"{PACKAGE}+g0000000", PACKAGE]
