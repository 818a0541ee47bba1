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
from sqlalchemy import func, select

from domain import api_keys, artifacts, db, events, jobs, projects
from domain.callers import Origin
from domain.job_status import Status
from domain.settings import get_settings
from domain.tables import Event
from migrations import upgrade
from tests import lives, trainer_lines
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
_OF_A_JOB = ("attempts", "checkpoints", "evaluations", "events")
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
        for table in _OF_A_JOB:
            with _without_indexes(connection, table):
                _multiply(connection, table, model)
        for table in ("jobs", *_OF_A_JOB):
            connection.execute(f"VACUUM (ANALYZE) {table}")
        ended = connection.execute(
            "SELECT id FROM jobs WHERE project_id = %s AND status = 'succeeded' LIMIT 500",
            [project_id],
        )
        return Filled(str(project_id), token, [str(row[0]) for row in ended])


def _one_real_job() -> tuple[UUID, str, UUID]:
    """A project with a key and one job that went through all of its life, with as many events as each shall
    have."""
    document = {
        "name": "left and right",
        "base_model": "tiny-unet",
        "rewards": [{"reward": "tiny-action"}],
        "prompts": {"inline": _PROMPTS},
        "budget": {"max_steps": 20, "max_wall_clock_s": 600},
        "labels": {"team": "ads"},
    }
    with db.transaction() as session:
        project = projects.create(session, name="measured")
        key, token = api_keys.create(session, project_id=project.id, name="load")
        job = jobs.create(
            session,
            spec=check(document, BUILT_IN, lambda _: None),
            asked_spec=document,
            origin=Origin(project_id=project.id, trace_id=uuid4().hex, key_id=key.id),
        )
    claim = lives.claimed()
    lives.told(claim, trainer_lines.started(), trainer_lines.phase("training"))
    lives.told(claim, *(trainer_lines.step(number) for number in range(1, 21)))
    lives.told(claim, trainer_lines.evaluation(kind="periodic", step=10, reward=0.55))
    lives.checkpointed(claim, (10, 20))
    lives.told(claim, trainer_lines.evaluation(), trainer_lines.done())
    with db.transaction() as session:
        prefix = f"{artifacts.attempt_prefix(claim.job_id, claim.attempt)}/adapter"
        artifacts.add_adapter(
            session,
            job_id=claim.job_id,
            attempt=claim.attempt,
            line=trainer_lines.done(),
            prefix=prefix,
        )
    lives.ended(claim, Status.SUCCEEDED)
    with db.transaction() as session:
        told = session.scalars(select(func.count()).where(Event.job_id == job.id)).one()
        for number in range(told, EVENTS_A_JOB):
            data = {"step": number, "loss": -0.5, "reward": 0.5, "seconds": 1.0}
            message = f"Step {number} of {EVENTS_A_JOB}: reward 0.5."
            events.append(session, job_id=job.id, type="job.metric", message=message, data=data)
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
        "attempt": "CASE WHEN n BETWEEN 21 AND 220 THEN 0 ELSE 1 END",
        "adapter_id": "CASE WHEN n > 220 THEN model.adapter_id END",
        "stop_reason": "CASE WHEN n > 220 THEN model.stop_reason END",
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


def _multiply(connection: psycopg.Connection, table: str, model: UUID) -> None:
    """Gives every job what the model has in `table`."""
    made = {"id": "uuidv7()", "job_id": "job.id", "project_id": "job.project_id"}
    columns = [name for name in _columns(connection, table) if name != "xact"]
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT {', '.join(made.get(column, f'model.{column}') for column in columns)}"
        f" FROM jobs job, {table} model WHERE model.job_id = %(model)s AND job.id <> %(model)s",
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
