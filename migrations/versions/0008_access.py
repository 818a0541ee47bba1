"""Members, sessions, quotas, usage and the audit log."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MEMBERS = """
CREATE TABLE members (
    id                    uuid CONSTRAINT pk_members PRIMARY KEY,
    project_id            uuid NOT NULL CONSTRAINT fk_members_project_id REFERENCES projects,
    email                 text NOT NULL,
    name                  text NOT NULL,
    role                  text NOT NULL,
    password_hash         text,
    invitation_hash       bytea CONSTRAINT uq_members_invitation_hash UNIQUE,
    invitation_expires_at timestamptz,
    created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    joined_at             timestamptz,
    removed_at            timestamptz,
    CONSTRAINT ck_members_role CHECK (role IN ('viewer', 'editor', 'admin'))
);
CREATE UNIQUE INDEX uq_members_project_id_email ON members (project_id, email)
    WHERE removed_at IS NULL;
CREATE INDEX ix_members_email ON members (email);
CREATE INDEX ix_members_page ON members (project_id, created_at DESC, id DESC);

CREATE TABLE member_sessions (
    id           uuid CONSTRAINT pk_member_sessions PRIMARY KEY,
    project_id   uuid NOT NULL CONSTRAINT fk_member_sessions_project_id REFERENCES projects,
    member_id    uuid NOT NULL CONSTRAINT fk_member_sessions_member_id REFERENCES members,
    token_hash   bytea NOT NULL CONSTRAINT uq_member_sessions_token_hash UNIQUE,
    address      text,
    user_agent   text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz
);
CREATE INDEX ix_member_sessions_member_id ON member_sessions (member_id);
CREATE INDEX ix_member_sessions_page ON member_sessions (project_id, created_at DESC, id DESC);
"""

MAKERS_OF_KEYS = """
ALTER TABLE api_keys
    ADD COLUMN created_by_key_id uuid CONSTRAINT fk_api_keys_created_by_key_id REFERENCES api_keys,
    ADD COLUMN created_by_member_id uuid;
CREATE INDEX ix_api_keys_created_by_key_id ON api_keys (created_by_key_id);
CREATE INDEX ix_api_keys_created_by_member_id ON api_keys (created_by_member_id);
"""

QUOTAS_AND_USAGE = """
CREATE TABLE project_quotas (
    project_id          uuid CONSTRAINT pk_project_quotas PRIMARY KEY
                        CONSTRAINT fk_project_quotas_project_id REFERENCES projects,
    running_jobs        bigint,
    queued_jobs         bigint,
    gpu_seconds_a_month bigint,
    storage_bytes       bigint,
    generations_a_month bigint,
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_jobs_live ON jobs (project_id, status) WHERE finished_at IS NULL;

CREATE TABLE usage_entries (
    subject_id         uuid NOT NULL,
    day                date NOT NULL,
    project_id         uuid NOT NULL CONSTRAINT fk_usage_entries_project_id REFERENCES projects,
    kind               text NOT NULL,
    base_model         text NOT NULL,
    team               text NOT NULL,
    gpu_seconds        double precision NOT NULL DEFAULT 0,
    reward_queries     bigint NOT NULL DEFAULT 0,
    evaluation_queries bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_usage_entries PRIMARY KEY (subject_id, day),
    CONSTRAINT ck_usage_entries_kind CHECK (kind IN ('training', 'generation', 'scoring'))
);
CREATE INDEX ix_usage_entries_project_id_day ON usage_entries (project_id, day)
    INCLUDE (gpu_seconds);
"""

AUDIT = """
CREATE TABLE audit_entries (
    id         uuid CONSTRAINT pk_audit_entries PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT fk_audit_entries_project_id REFERENCES projects,
    actor_type text NOT NULL,
    actor_id   uuid,
    action     text NOT NULL,
    target     text,
    details    jsonb NOT NULL,
    request_id text,
    address    text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ck_audit_entries_actor_type CHECK (actor_type IN ('api_key', 'member', 'operator'))
);
CREATE INDEX ix_audit_entries_page ON audit_entries (project_id, created_at DESC, id DESC);

CREATE FUNCTION keep_audit_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are only ever added'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_entries_only_grow BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION keep_audit_entries();
CREATE TRIGGER audit_entries_are_not_emptied BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION keep_audit_entries();
"""


def upgrade() -> None:
    """Creates the tables."""
    for statements in (MEMBERS, MAKERS_OF_KEYS, QUOTAS_AND_USAGE, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drops them."""
    op.execute("DROP INDEX ix_jobs_live")
    op.execute("DROP TABLE audit_entries, usage_entries, project_quotas")
    op.execute(
        "ALTER TABLE api_keys DROP COLUMN created_by_key_id, DROP COLUMN created_by_member_id"
    )
    op.execute("DROP TABLE member_sessions, members")
    op.execute("DROP FUNCTION keep_audit_entries")
