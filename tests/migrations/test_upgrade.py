from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, inspect, text

from domain.db import sqlalchemy_url
from domain.tables import Base
from migrations import config, upgrade

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    engine = create_engine(sqlalchemy_url(empty_database_url), poolclass=NullPool)
    yield engine
    engine.dispose()


def test_an_upgraded_empty_database_has_exactly_the_tables_of_the_code(
    empty_database_url: str, engine: Engine
) -> None:
    upgrade(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_several_processes_may_upgrade_at_once(empty_database_url: str, engine: Engine) -> None:
    code = "import sys, migrations; migrations.upgrade(sys.argv[1])"
    command_line = [sys.executable, "-c", code, empty_database_url]
    processes = [subprocess.Popen(command_line, cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert set(inspect(engine).get_table_names()) == {"alembic_version", *Base.metadata.tables}


def test_a_downgrade_leaves_nothing_behind(empty_database_url: str, engine: Engine) -> None:
    upgrade(empty_database_url)
    command.downgrade(config(empty_database_url), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]


def test_jobs_that_are_there_keep_their_method(empty_database_url: str, engine: Engine) -> None:
    command.upgrade(config(empty_database_url), "0002")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projects (id, name) VALUES (gen_random_uuid(), 'p')"))
        connection.execute(
            text(
                "INSERT INTO jobs (id, project_id, name, labels, priority, base_model, rewards, asked_spec,"
                " spec, budget, spec_hash, trace_id, status, phase, steps_total)"
                " SELECT gen_random_uuid(), id, 'old', '{}', 1, 'tiny-unet@1', '{tiny-action@1}', '{}',"
                " CAST(:spec AS jsonb), '{}', '', '', 'queued', 'queued', 1 FROM projects"
            ),
            {"spec": json.dumps({"method": {"type": "reward_gradient"}})},
        )
    upgrade(empty_database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT method FROM jobs")).scalars().all() == [
            "reward_gradient"
        ]


def test_keys_that_could_write_prompt_sets_may_upload_after_the_upgrade(
    empty_database_url: str, engine: Engine
) -> None:
    command.upgrade(config(empty_database_url), "0001")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projects (id, name) VALUES (gen_random_uuid(), 'p')"))
        for name, scopes in (("all", "{jobs:read,prompt_sets:write}"), ("reader", "{jobs:read}")):
            connection.execute(
                text(
                    "INSERT INTO api_keys (id, project_id, name, lookup_id, secret_hash, scopes)"
                    " SELECT gen_random_uuid(), id, :name, :name, '', :scopes FROM projects"
                ),
                {"name": name, "scopes": scopes},
            )
    upgrade(empty_database_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, scopes FROM api_keys ORDER BY name")).all()
    assert [(row.name, row.scopes) for row in rows] == [
        ("all", ["jobs:read", "prompt_sets:write", "uploads:write"]),
        ("reader", ["jobs:read"]),
    ]


def test_prompt_sets_that_are_there_get_their_reports(
    empty_database_url: str, engine: Engine
) -> None:
    command.upgrade(config(empty_database_url), "0005")
    items = [{"prompt": "a red circle", "heldout": True}, {"prompt": "a blue square"}]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projects (id, name) VALUES (gen_random_uuid(), 'p')"))
        connection.execute(
            text(
                "INSERT INTO prompt_sets (id, project_id, name, version, items, sha256)"
                " SELECT gen_random_uuid(), id, 'old', 1, CAST(:items AS jsonb), '' FROM projects"
            ),
            {"items": json.dumps(items)},
        )
    upgrade(empty_database_url)
    with engine.connect() as connection:
        [row] = connection.execute(text("SELECT size, report FROM prompt_sets")).all()
    assert row.size == 2
    assert (row.report["prompts"], row.report["marked"]) == (2, 1)
    assert row.report["training"] + row.report["heldout"] == 2
