"""Job templates with versions; prompt sets with their report and split."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from domain.prompt_report import Read, report_of
from vader_core.spec import Prompt

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PROMPT_SETS = """
ALTER TABLE prompt_sets ADD COLUMN size bigint;
ALTER TABLE prompt_sets ADD COLUMN size_bytes bigint;
ALTER TABLE prompt_sets ADD COLUMN report jsonb;
ALTER TABLE prompt_sets ADD COLUMN deleted_at timestamptz;
ALTER TABLE prompt_sets ADD COLUMN created_by_member_id uuid;
CREATE INDEX ix_prompt_sets_page ON prompt_sets (project_id, created_at DESC, id DESC);
"""
PROMPT_SETS_FILLED = """
ALTER TABLE prompt_sets ALTER COLUMN size SET NOT NULL;
ALTER TABLE prompt_sets ALTER COLUMN size_bytes SET NOT NULL;
ALTER TABLE prompt_sets ALTER COLUMN report SET NOT NULL;
"""
PROMPT_SETS_AS_BEFORE = """
DROP INDEX ix_prompt_sets_page;
ALTER TABLE prompt_sets DROP COLUMN created_by_member_id;
ALTER TABLE prompt_sets DROP COLUMN deleted_at;
ALTER TABLE prompt_sets DROP COLUMN report;
ALTER TABLE prompt_sets DROP COLUMN size_bytes;
ALTER TABLE prompt_sets DROP COLUMN size;
"""

LOG_CHUNKS = """
CREATE TABLE log_chunks (
    job_id  uuid NOT NULL CONSTRAINT fk_log_chunks_job_id REFERENCES jobs,
    attempt bigint NOT NULL,
    start   bigint NOT NULL,
    body    bytea NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_log_chunks PRIMARY KEY (job_id, attempt, start)
);
"""
LOG_CHUNKS_DROPPED = """
DROP TABLE log_chunks;
"""


TEMPLATES = """
CREATE TABLE job_templates (
    id          uuid CONSTRAINT pk_job_templates PRIMARY KEY,
    project_id  uuid NOT NULL CONSTRAINT fk_job_templates_project_id REFERENCES projects,
    name        text NOT NULL,
    version     bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    archived_at timestamptz
);
CREATE UNIQUE INDEX uq_job_templates_name ON job_templates (project_id, name) WHERE archived_at IS NULL;
CREATE INDEX ix_job_templates_page ON job_templates (project_id, created_at DESC, id DESC);

CREATE TABLE job_template_versions (
    template_id          uuid NOT NULL CONSTRAINT fk_job_template_versions_template_id REFERENCES job_templates,
    version              bigint NOT NULL,
    description          text NOT NULL,
    spec                 jsonb NOT NULL,
    created_by_key_id    uuid CONSTRAINT fk_job_template_versions_created_by_key_id REFERENCES api_keys,
    created_by_member_id uuid,
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_job_template_versions PRIMARY KEY (template_id, version)
);

ALTER TABLE workers ADD COLUMN kind text NOT NULL DEFAULT 'training';

CREATE INDEX ix_jobs_alike ON jobs (base_model, method, created_at DESC) WHERE started_at IS NOT NULL;
CREATE INDEX ix_jobs_succeeded ON jobs (finished_at DESC) WHERE status = 'succeeded';
"""
TEMPLATES_DROPPED = """
DROP INDEX ix_jobs_alike, ix_jobs_succeeded;
ALTER TABLE workers DROP COLUMN kind;
DROP TABLE job_template_versions, job_templates;
"""


def upgrade() -> None:
    """Adds it."""
    op.execute(TEMPLATES)
    op.execute(PROMPT_SETS)
    _report_on_prompt_sets()
    op.execute(PROMPT_SETS_FILLED)
    op.execute(LOG_CHUNKS)


def downgrade() -> None:
    """Drops it."""
    op.execute(LOG_CHUNKS_DROPPED)
    op.execute(PROMPT_SETS_AS_BEFORE)
    op.execute(TEMPLATES_DROPPED)


def _report_on_prompt_sets() -> None:
    """Gives the sets that are there their reports."""
    connection = op.get_bind()
    for row in connection.execute(text("SELECT id, items FROM prompt_sets")).all():
        prompts = [Prompt.model_validate(item) for item in row.items]
        read = Read(prompts, [f"/prompts/{index}" for index in range(len(prompts))])
        report = report_of(read, base_model=None, predecessor=None)
        connection.execute(
            text(
                "UPDATE prompt_sets SET size = :size, size_bytes = octet_length(items::text),"
                " report = CAST(:report AS jsonb) WHERE id = :id"
            ),
            {"id": row.id, "size": len(prompts), "report": report.model_dump_json()},
        )
