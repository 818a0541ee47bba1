"""The ledger of usage: written where counters grow, summed up by day, month and group."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from domain import db, usage, usage_report
from domain.access_tables import UsageEntry
from domain.ids import new_id
from domain.usage_report import Group, Interval, Used
from tests import factories, lives, trainer_lines

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def entry(project_id: UUID, day: date, **fields: object) -> None:
    """An entry of the ledger on some other day."""
    with db.transaction() as session:
        session.add(
            UsageEntry(
                **{
                    "subject_id": new_id(),
                    "day": day,
                    "project_id": project_id,
                    "kind": "training",
                    "base_model": "tiny-unet@1",
                    "team": "",
                    "gpu_seconds": 1.0,
                    "reward_queries": 2,
                    "evaluation_queries": 3,
                    **fields,
                }
            )
        )


def report(
    project_id: UUID,
    *groups: Group,
    first: date = date(2026, 1, 1),
    last: date = date(2026, 12, 31),
    interval: Interval | None = None,
) -> list[Used]:
    with db.read() as session:
        return usage_report.report(
            session,
            project_id=project_id,
            groups=groups,
            first=first,
            last=last,
            interval=interval,
        )


def test_a_jobs_counters_and_the_ledger_grow_together() -> None:
    claim = lives.training(labels={"team": "ads"})
    for number in (1, 2, 3):
        lives.told(claim, trainer_lines.step(number))
    job = lives.told(claim, trainer_lines.evaluation())
    with db.read() as session:
        [row] = session.scalars(select(UsageEntry))
    assert row.gpu_seconds == pytest.approx(job.gpu_seconds)
    assert (row.reward_queries, row.evaluation_queries) == (
        job.reward_queries,
        job.evaluation_queries,
    )
    assert row.reward_queries > 0
    assert (row.subject_id, row.project_id, row.kind) == (job.id, job.project_id, "training")
    assert (row.team, row.base_model) == ("ads", job.base_model)


def test_what_was_told_before_is_not_counted_again() -> None:
    claim = lives.training()
    job = lives.told(claim, trainer_lines.step(1), trainer_lines.step(2))
    lives.told(claim, trainer_lines.step(1), trainer_lines.step(2))
    with db.read() as session:
        assert session.scalars(select(UsageEntry.gpu_seconds)).one() == job.gpu_seconds


def test_nothing_used_is_no_entry(project_id: UUID) -> None:
    with db.transaction() as session:
        usage.add(
            session, project_id=project_id, kind="scoring", subject_id=new_id(), base_model=""
        )
        assert session.scalars(select(UsageEntry)).all() == []


def test_usage_is_summed_by_what_is_asked_for(project_id: UUID) -> None:
    day = date(2026, 3, 30)
    entry(project_id, day, team="ads", gpu_seconds=10.0)
    entry(project_id, day, base_model="tiny-wan@1", kind="generation", gpu_seconds=4.0)
    entry(project_id, day + timedelta(days=1), gpu_seconds=1.0)
    entry(project_id, day + timedelta(days=2), gpu_seconds=2.0)
    with db.transaction() as session:
        other = factories.project(session).id
    entry(other, day, gpu_seconds=1000.0)

    [whole] = report(project_id)
    assert (whole.gpu_seconds, whole.reward_queries, whole.evaluation_queries) == (17.0, 8, 12)
    models = report(project_id, "base_model")
    assert [(row.base_model, row.gpu_seconds) for row in models] == [
        ("tiny-unet@1", 13.0),
        ("tiny-wan@1", 4.0),
    ]
    teams = report(project_id, "team", "kind")
    assert {(row.team, row.kind): row.gpu_seconds for row in teams} == {
        ("", "generation"): 4.0,
        ("", "training"): 3.0,
        ("ads", "training"): 10.0,
    }
    days = report(project_id, interval="day")
    assert [(row.first, row.gpu_seconds) for row in days] == [
        (day, 14.0),
        (date(2026, 3, 31), 1.0),
        (date(2026, 4, 1), 2.0),
    ]
    months = report(project_id, interval="month")
    assert [(row.first, row.gpu_seconds) for row in months] == [
        (date(2026, 3, 1), 15.0),
        (date(2026, 4, 1), 2.0),
    ]
    assert [row.gpu_seconds for row in report(project_id, first=day, last=day)] == [14.0]


def test_the_total_and_its_cost(project_id: UUID) -> None:
    entry(project_id, date(2026, 3, 30), gpu_seconds=10.0)
    entry(project_id, date(2026, 3, 31), gpu_seconds=2.5)
    total = usage_report.total(report(project_id, interval="day"))
    assert (total.first, total.gpu_seconds, total.reward_queries) == (None, 12.5, 4)
    assert usage_report.cost(total, Decimal("0.002")) == Decimal("0.025")
    assert usage_report.total([]).gpu_seconds == 0
