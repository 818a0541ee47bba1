"""Asynchronous reads: whose rows they see, and what becomes of connections that break."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Float, Integer, bindparam, func, literal_column, select

from domain import db
from domain.errors import Unavailable
from domain.reads import Reads
from domain.settings import Settings
from domain.tables import Job
from tests import lives
from tests.reads import reading

pytestmark = pytest.mark.usefixtures("settings")

ONE = select(literal_column("1"))
JOB_IDS = select(Job.id)
ONE_JOB = select(Job.id, Job.labels, Job.created_at).where(Job.id == bindparam("job"))
PID = select(func.pg_backend_pid())


def test_a_read_gives_values_as_the_columns_have_them() -> None:
    job = lives.waiting()
    rows = reading(lambda reads: reads.rows(ONE_JOB, job=job.id), tenant=job.project_id)
    assert rows == [(job.id, {}, job.created_at)]


def test_a_read_sees_what_its_tenant_may_see() -> None:
    ours, theirs = lives.waiting(), lives.waiting()

    async def all_ways(reads: Reads) -> list[set[UUID]]:
        found = []
        for project in (ours.project_id, theirs.project_id, ours.project_id):
            db.tenant.set(project)
            found.append({row[0] for row in await reads.rows(JOB_IDS)})
        return found

    # One connection for all: what it was set to for one read is gone at the next.
    assert reading(all_ways) == [{ours.id}, {theirs.id}, {ours.id}]


def test_nothing_is_read_for_nobody() -> None:
    async def for_nobody(reads: Reads) -> list[tuple[object, ...]]:
        db.tenant.set(None)
        return await reads.rows(ONE)

    with pytest.raises(LookupError, match="for which project"):
        reading(for_nobody)


def test_a_read_that_takes_too_long_is_not_made_again() -> None:
    slow = select(func.pg_sleep(bindparam("seconds", type_=Integer)))
    short = select(func.set_config("statement_timeout", "100ms", False))

    async def timed_out(reads: Reads) -> None:
        await reads.rows(short)
        with pytest.raises(Unavailable, match="too long"):
            await reads.rows(slow, seconds=3)
        # A read that were made again would have a connection without the short limit.
        await reads.rows(ONE)

    reading(timed_out)


def test_searches_leave_places_for_other_reads() -> None:
    slow = select(func.pg_sleep(bindparam("seconds", type_=Float)))

    async def beside_searches(reads: Reads) -> bool:
        searches = [
            asyncio.create_task(reads.rows(slow, plan_for_values=True, seconds=0.5))
            for _ in range(4)
        ]
        await asyncio.sleep(0.2)
        await reads.rows(ONE)
        still = any(not each.done() for each in searches)
        await asyncio.gather(*searches)
        return still

    assert reading(beside_searches, connections=2)


def test_a_statement_is_planned_once_or_for_its_values() -> None:
    mode = select(func.current_setting("plan_cache_mode"), func.pg_backend_pid())

    async def in_turn(reads: Reads) -> list[tuple[object, ...]]:
        return [(await reads.rows(mode, plan_for_values=way))[0] for way in (False, True, False)]

    once, anew, again = reading(in_turn)
    assert (once[0], anew[0]) == ("force_generic_plan", "force_custom_plan")
    assert again == once
    assert anew[1] == once[1]


def test_a_connection_that_is_in_the_asked_mode_is_taken_first() -> None:
    ours, theirs = lives.waiting(), lives.waiting()

    async def in_turn(reads: Reads) -> list[object]:
        pids = []
        for project in (ours.project_id, theirs.project_id, ours.project_id, theirs.project_id):
            db.tenant.set(project)
            pids.append((await reads.rows(PID))[0][0])
        return pids

    # Of two places the second is opened only where both are in use at once.
    assert len(set(reading(in_turn, connections=2))) == 1

    async def both(reads: Reads) -> list[list[object]]:
        async def one(project: UUID) -> object:
            db.tenant.set(project)
            return (await reads.rows(PID))[0][0]

        wanted = (ours.project_id, theirs.project_id)
        return [list(await asyncio.gather(*map(one, wanted))) for _ in range(3)]

    first, *later = reading(both, connections=2)
    assert len(set(first)) == 2
    assert later == [first, first]


def test_a_cancelled_read_leaves_no_answer_for_the_next() -> None:
    slow_one = select(func.pg_sleep(bindparam("seconds", type_=Integer)))

    async def cancelled_then_next(reads: Reads) -> list[tuple[object, ...]]:
        slow = asyncio.create_task(reads.rows(slow_one, seconds=5))
        await asyncio.sleep(0.3)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        return await reads.rows(ONE)

    assert reading(cancelled_then_next) == [(1,)]


def test_a_connection_that_the_server_closed_is_made_again(settings: Settings) -> None:
    async def closed_between(reads: Reads) -> list[tuple[object, ...]]:
        ((pid,),) = await reads.rows(PID)
        url = settings.database_url.get_secret_value()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
            await other.execute("SELECT pg_terminate_backend(%s)", [pid])
        return await reads.rows(ONE)

    assert reading(closed_between) == [(1,)]


def test_an_absent_database_is_told_as_such() -> None:
    async def nobody_there(_reads: Reads) -> None:
        await Reads("postgresql://nobody@127.0.0.1:1/none").rows(ONE)

    with pytest.raises(Unavailable):
        reading(nobody_there)


def test_reads_wait_for_each_others_connection() -> None:
    numbered = select(bindparam("number", type_=Integer))

    async def many(reads: Reads) -> list[list[tuple[object, ...]]]:
        return await asyncio.gather(*(reads.rows(numbered, number=n) for n in range(20)))

    assert reading(many, connections=2) == [[(n,)] for n in range(20)]
