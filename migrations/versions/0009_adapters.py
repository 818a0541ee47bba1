"""Adapters beyond a job's last: promoted checkpoints, and aliases. Checkpoints' counters, workers' canaries."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ADDED = """
ALTER TABLE workers ADD COLUMN canary_at timestamptz;
ALTER TABLE checkpoints ADD COLUMN counters jsonb NOT NULL DEFAULT '{}';
ALTER TABLE checkpoints ALTER COLUMN counters DROP DEFAULT;

ALTER TABLE adapters ADD COLUMN kind text NOT NULL DEFAULT 'final';
ALTER TABLE adapters ALTER COLUMN kind DROP DEFAULT;
ALTER TABLE adapters
    ADD COLUMN checkpoint_id uuid CONSTRAINT fk_adapters_checkpoint_id REFERENCES checkpoints,
    ADD CONSTRAINT ck_adapters_kind CHECK (kind IN ('final', 'promoted')),
    ADD CONSTRAINT ck_adapters_promoted_from
        CHECK ((kind = 'promoted') = (checkpoint_id IS NOT NULL)),
    DROP CONSTRAINT uq_adapters_job_id,
    ADD CONSTRAINT uq_adapters_checkpoint_id UNIQUE (checkpoint_id);
CREATE UNIQUE INDEX uq_adapters_final ON adapters (job_id) WHERE kind = 'final';
CREATE INDEX ix_adapters_job_id ON adapters (job_id);
DROP INDEX ix_adapters_project_id;
CREATE INDEX ix_adapters_page ON adapters (project_id, created_at DESC, id DESC);

CREATE TABLE adapter_aliases (
    project_id uuid NOT NULL CONSTRAINT fk_adapter_aliases_project_id REFERENCES projects,
    name       text NOT NULL,
    adapter_id uuid NOT NULL CONSTRAINT fk_adapter_aliases_adapter_id REFERENCES adapters,
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_adapter_aliases PRIMARY KEY (project_id, name)
);
CREATE INDEX ix_adapter_aliases_adapter_id ON adapter_aliases (adapter_id);
"""
DROPPED = """
DROP TABLE adapter_aliases;
DROP INDEX ix_adapters_page;
CREATE INDEX ix_adapters_project_id ON adapters (project_id);
DROP INDEX ix_adapters_job_id;
DROP INDEX uq_adapters_final;
DELETE FROM adapters WHERE kind = 'promoted';
ALTER TABLE adapters
    DROP COLUMN kind,
    DROP COLUMN checkpoint_id,
    ADD CONSTRAINT uq_adapters_job_id UNIQUE (job_id);
ALTER TABLE checkpoints DROP COLUMN counters;
ALTER TABLE workers DROP COLUMN canary_at;
"""


def upgrade() -> None:
    """Adds the aliases, and what tells promoted adapters from final ones."""
    op.execute(ADDED)


def downgrade() -> None:
    """Drops the aliases and the promoted adapters."""
    op.execute(DROPPED)
