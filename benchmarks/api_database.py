"""A database with very many jobs and events, built by SQL from one real job.

Every column comes from the real rows, but for those that tell rows apart; so what the service writes today is
what is multiplied. `python -m benchmarks.api_database JOBS` fills the database of the settings and prints what can be asked of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from uuid import UUID, uuid4

import psycopg

from domain import api_keys, db, events, jobs, projects
from domain.callers import Origin
from domain.settings import get_settings
from migrations import upgrade
from vader_core.catalogue import BUILT_IN
from vader_core.resolve import check

PROJECTS = 50
EVENTS_A_JOB = 50
# Terminal states are the past; a queue and some running jobs are the present.
_STATUS = """
CASE WHEN n <= 20 THEN 'running'
     WHEN n <= 220 THEN 'queued'
     WHEN mod(n, 10) < 7 THEN 'succeeded'
     WHEN mod(n, 10) < 9 THEN 'failed' ELSE 'cancelled' END
"""
_PROMPTS = [
    {"prompt": f"a {colour} circle moving {way}", "target": f"moving {way}", "heldout": heldout}
    for colour, heldout in (("red", False), ("blue", True))
    for way in ("left", "right")
]


@dataclass(frozen=True)
class Filled:
    """The project that is asked for its jobs, a key of it, and some ids of its ended jobs."""

    project_id: str
    token: str
    job_ids: list[str]


def fill(database_url: str, *, job_count: int) -> Filled:
    """Makes the rows. The settings must name the same database, and it must have every table and no job."""
    project_id, token, model = _one_real_job()
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Foreign keys hold by construction, and checking them a million times is not what is measured.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("SET statement_timeout = 0")
        _more_projects(connection)
        with _without_indexes(connection, "jobs"):
            _multiply_jobs(connection, project_id, model, job_count)
        with _without_indexes(connection, "events"):
            _multiply_events(connection, model)
        connection.execute("VACUUM (ANALYZE) jobs")
        connection.execute("VACUUM (ANALYZE) events")
        ended = connection.execute(
            "SELECT id FROM jobs WHERE project_id = %s AND status = 'succeeded' LIMIT 500",
            [project_id],
        )
        return Filled(str(project_id), token, [str(row[0]) for row in ended])


def _one_real_job() -> tuple[UUID, str, UUID]:
    """A project with a key and one job, which has as many events as each shall have."""
    document = {
        "name": "left and right",
        "base_model": "tiny-unet",
        "rewards": [{"reward": "tiny-action"}],
        "prompts": {"inline": _PROMPTS},
        "budget": {"max_steps": EVENTS_A_JOB, "max_wall_clock_s": 600},
        "labels": {"team": "ads"},
    }
    with db.transaction() as session:
        project = projects.create(session, name="measured")
        _, token = api_keys.create(session, project_id=project.id, name="load")
        job = jobs.create(
            session,
            spec=check(document, BUILT_IN, lambda _: None),
            asked_spec=document,
            origin=Origin(project_id=project.id, trace_id=uuid4().hex),
        )
        for step in range(1, EVENTS_A_JOB - 1):
            data = {"step": step, "loss": -0.5, "reward": 0.5, "reward_std": 0.1, "seconds": 1.0}
            message = f"Step {step} of {EVENTS_A_JOB}: reward 0.5."
            events.append(
                session, job_id=job.id, type="job.metric", message=message, data=data, step=step
            )
    return project.id, token, job.id


def _more_projects(connection: psycopg.Connection) -> None:
    connection.execute(
        "INSERT INTO projects (id, name) SELECT uuidv7(), 'other ' || n FROM generate_series(1, %s) n",
        [PROJECTS - 1],
    )


def _multiply_jobs(
    connection: psycopg.Connection, project_id: UUID, model: UUID, count: int
) -> None:
    """The measured project has a fifth of all jobs; the newest are running and queued."""
    made = {
        "id": "uuidv7(interval '-1 second' * n)",
        "project_id": "CASE WHEN mod(n, 5) = 0 THEN %(project)s ELSE others.ids[1 + mod(n, 49)] END",
        "status": _STATUS,
        "phase": _STATUS,
        "labels": "jsonb_build_object('team', 'team ' || mod(n, 20))",
        "created_at": "now() - interval '1 second' * n",
        "queued_at": "now() - interval '1 second' * n",
        "started_at": "CASE WHEN n BETWEEN 21 AND 220 THEN NULL ELSE now() - interval '1 second' * n END",
        "finished_at": "CASE WHEN n <= 220 THEN NULL ELSE now() - interval '1 second' * n END",
        "owner": "CASE WHEN n <= 20 THEN 'worker:1' END",
        "lease_until": "CASE WHEN n <= 20 THEN now() + interval '1 day' END",
    }
    columns = _columns(connection, "jobs")
    connection.execute(
        f"INSERT INTO jobs ({', '.join(columns)})"
        f" SELECT {', '.join(made.get(column, f'model.{column}') for column in columns)}"
        " FROM jobs model, generate_series(1, %(count)s) n,"
        " (SELECT array_agg(id) ids FROM projects WHERE id <> %(project)s) others"
        " WHERE model.id = %(model)s",
        {"project": project_id, "count": count - 1, "model": model},
    )


def _multiply_events(connection: psycopg.Connection, model: UUID) -> None:
    made = {"id": "uuidv7()", "job_id": "job.id", "project_id": "job.project_id"}
    columns = [name for name in _columns(connection, "events") if name != "xact"]
    connection.execute(
        f"INSERT INTO events ({', '.join(columns)})"
        f" SELECT {', '.join(made.get(column, f'model.{column}') for column in columns)}"
        " FROM jobs job, events model WHERE model.job_id = %(model)s AND job.id <> %(model)s",
        {"model": model},
    )


def _columns(connection: psycopg.Connection, table: str) -> list[str]:
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
        " AND is_generated = 'NEVER' ORDER BY ordinal_position",
        [table],
    )
    return [row[0] for row in found]


@contextmanager
def _without_indexes(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Drops what makes loading slow, and builds it again afterwards as it was."""
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT IN"
        " (SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass)",
        [table, table],
    ).fetchall()
    unique = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype = 'u'",
        [table],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    for name, _ in unique:
        connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    yield
    for _, definition in indexes:
        connection.execute(definition)
    for name, definition in unique:
        connection.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


def main() -> None:
    url = get_settings().database_url.get_secret_value()
    upgrade(url)
    filled = fill(url, job_count=int(sys.argv[1]))
    sys.stdout.write(json.dumps(asdict(filled)) + "\n")


if __name__ == "__main__":
    main()
