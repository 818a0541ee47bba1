"""Generations: videos made on demand, with their terminal states kept."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

GENERATIONS = """
CREATE TABLE generations (
    id                   uuid CONSTRAINT pk_generations PRIMARY KEY,
    project_id           uuid NOT NULL CONSTRAINT fk_generations_project_id REFERENCES projects,
    created_by_key_id    uuid CONSTRAINT fk_generations_created_by_key_id REFERENCES api_keys,
    created_by_member_id uuid,
    trace_id             text NOT NULL,
    adapter_id           uuid,
    base_model           text NOT NULL,
    spec                 jsonb NOT NULL,
    inputs               jsonb NOT NULL,
    status               text NOT NULL,
    attempt              bigint NOT NULL DEFAULT 0,
    owner                text,
    lease_until          timestamptz,
    hinted_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    result               jsonb,
    size_bytes           bigint NOT NULL DEFAULT 0,
    gpu_seconds          double precision NOT NULL DEFAULT 0,
    error                jsonb,
    version              bigint NOT NULL DEFAULT 1,
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at           timestamptz,
    claimed_at           timestamptz,
    finished_at          timestamptz,
    deleted_at           timestamptz,
    files_removed_at     timestamptz,
    CONSTRAINT ck_generations_status
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT ck_generations_lease_has_owner CHECK ((lease_until IS NULL) = (owner IS NULL))
);
CREATE INDEX ix_generations_page ON generations (project_id, created_at DESC, id DESC);
CREATE INDEX ix_generations_turns ON generations (project_id, started_at);
CREATE INDEX ix_generations_adapter ON generations (adapter_id, created_at DESC, id DESC)
    WHERE adapter_id IS NOT NULL;
CREATE INDEX ix_generations_queue ON generations (created_at) WHERE status = 'queued';
CREATE INDEX ix_generations_leases ON generations (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX ix_generations_kept ON generations (finished_at)
    WHERE finished_at IS NOT NULL AND files_removed_at IS NULL;

CREATE FUNCTION keep_terminal_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'generation % is %: a terminal status never changes', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER generations_keep_terminal_status BEFORE UPDATE OF status ON generations FOR EACH ROW
    WHEN (OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION keep_terminal_generation();
"""


def upgrade() -> None:
    """Creates the table; attempts at scorings are dated as those at generations."""
    op.execute(GENERATIONS)
    op.execute("ALTER TABLE scorings ADD COLUMN claimed_at timestamptz")


def downgrade() -> None:
    """Drops both."""
    op.execute("DROP TABLE generations")
    op.execute("DROP FUNCTION keep_terminal_generation")
    op.execute("ALTER TABLE scorings DROP COLUMN claimed_at")
