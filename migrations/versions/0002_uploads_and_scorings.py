"""Uploads, scorings (rewards tried on videos) with their terminal states kept, and the scope to upload."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPLOADS = """
CREATE TABLE uploads (
    id                uuid CONSTRAINT pk_uploads PRIMARY KEY,
    project_id        uuid NOT NULL CONSTRAINT fk_uploads_project_id REFERENCES projects,
    created_by_key_id uuid CONSTRAINT fk_uploads_created_by_key_id REFERENCES api_keys,
    name              text NOT NULL,
    content_type      text NOT NULL,
    key               text NOT NULL,
    sha256            text NOT NULL,
    size_bytes        bigint NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT uq_uploads_project_id_sha256 UNIQUE (project_id, sha256)
);
CREATE INDEX ix_uploads_page ON uploads (project_id, created_at DESC, id DESC);

UPDATE api_keys SET scopes = array_append(scopes, 'uploads:write')
    WHERE 'prompt_sets:write' = ANY (scopes);
"""

SCORINGS = """
CREATE TABLE scorings (
    id                uuid CONSTRAINT pk_scorings PRIMARY KEY,
    project_id        uuid NOT NULL CONSTRAINT fk_scorings_project_id REFERENCES projects,
    created_by_key_id uuid CONSTRAINT fk_scorings_created_by_key_id REFERENCES api_keys,
    trace_id          text NOT NULL,
    reward            jsonb NOT NULL,
    params            jsonb NOT NULL,
    videos            jsonb NOT NULL,
    status            text NOT NULL,
    attempt           bigint NOT NULL DEFAULT 0,
    owner             text,
    lease_until       timestamptz,
    hinted_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    result            jsonb,
    error             jsonb,
    version           bigint NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at        timestamptz,
    finished_at       timestamptz,
    CONSTRAINT ck_scorings_status CHECK (status IN ('queued', 'running', 'succeeded', 'failed')),
    CONSTRAINT ck_scorings_lease_has_owner CHECK ((lease_until IS NULL) = (owner IS NULL))
);
CREATE INDEX ix_scorings_turns ON scorings (project_id, started_at);
CREATE INDEX ix_scorings_queue ON scorings (created_at) WHERE status = 'queued';
CREATE INDEX ix_scorings_leases ON scorings (lease_until) WHERE lease_until IS NOT NULL;

CREATE FUNCTION keep_terminal_scoring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'scoring % is %: a terminal status never changes', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER scorings_keep_terminal_status BEFORE UPDATE OF status ON scorings FOR EACH ROW
    WHEN (OLD.status IN ('succeeded', 'failed') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION keep_terminal_scoring();
"""


def upgrade() -> None:
    """Creates both tables. Keys that may write prompt sets may upload, as new keys may."""
    for statements in (UPLOADS, SCORINGS):
        op.execute(statements)


def downgrade() -> None:
    """Drops both tables and takes the scope away again."""
    op.execute("DROP TABLE scorings, uploads")
    op.execute("DROP FUNCTION keep_terminal_scoring")
    op.execute("UPDATE api_keys SET scopes = array_remove(scopes, 'uploads:write')")
