"""Jobs that pause, that come from other jobs, and that are deleted; budgets that change."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATUSES = (
    *("queued", "starting", "running", "pausing", "paused", "finalizing", "cancelling"),
    *("succeeded", "failed", "cancelled"),
)
ADDED = """
ALTER TABLE jobs
    ADD COLUMN created_by_member_id uuid,
    ADD COLUMN template             text,
    ADD COLUMN notify               jsonb,
    ADD COLUMN parent_job_id        uuid CONSTRAINT fk_jobs_parent_job_id REFERENCES jobs,
    ADD COLUMN parent_kind          text,
    ADD COLUMN init_from            jsonb,
    ADD COLUMN pause_requested_at   timestamptz,
    ADD COLUMN pause_reason         text,
    ADD COLUMN paused_expires_at    timestamptz,
    ADD COLUMN run_after            timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN deleted_at           timestamptz,
    ADD COLUMN purged_at            timestamptz,
    ADD COLUMN revision             bigint NOT NULL DEFAULT 1;
ALTER TABLE attempts
    ADD COLUMN gpu_seconds_before double precision NOT NULL DEFAULT 0,
    ADD COLUMN swept_at           timestamptz;
CREATE INDEX ix_jobs_parent_job_id ON jobs (parent_job_id);
CREATE INDEX ix_jobs_page_of_status ON jobs (project_id, status, created_at DESC, id DESC);
CREATE INDEX ix_jobs_page_of_base_model
    ON jobs (project_id, split_part(base_model, '@', 1), created_at DESC, id DESC);
CREATE INDEX ix_jobs_page_of_template
    ON jobs (project_id, split_part(template, '@', 1), created_at DESC, id DESC)
    WHERE template IS NOT NULL;
CREATE INDEX ix_jobs_page_of_method ON jobs (project_id, method, created_at DESC, id DESC);
CREATE INDEX ix_jobs_page_of_key ON jobs (project_id, created_by_key_id, created_at DESC, id DESC);
CREATE INDEX ix_jobs_page_of_member
    ON jobs (project_id, created_by_member_id, created_at DESC, id DESC)
    WHERE created_by_member_id IS NOT NULL;
CREATE FUNCTION reward_names(rewards text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS
    $$ SELECT array_agg(split_part(reward, '@', 1)) FROM unnest(rewards) AS reward $$;
CREATE INDEX ix_jobs_rewards ON jobs USING gin (reward_names(rewards));
CREATE INDEX ix_jobs_paused ON jobs (paused_expires_at) WHERE status = 'paused';
CREATE INDEX ix_jobs_unpurged ON jobs (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
CREATE INDEX ix_attempts_unswept ON attempts (ended_at) WHERE swept_at IS NULL;
DROP INDEX ix_jobs_queue;
CREATE INDEX ix_jobs_queue ON jobs (priority, created_at, id) WHERE status = 'queued';
"""
# Every project's jobs wait in one queue, and whoever looks at one job may see where it stands.
QUEUE_PLACES = """
CREATE FUNCTION queue_place(wanted uuid) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM jobs AS mine JOIN jobs AS ahead
        ON (ahead.priority, ahead.created_at, ahead.id)
           <= (mine.priority, mine.created_at, mine.id)
    WHERE mine.id = wanted AND mine.status = 'queued' AND ahead.status = 'queued'
$$;
CREATE FUNCTION queue_places(wanted uuid[]) RETURNS TABLE (id uuid, place bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT waiting.id, waiting.place FROM (
        SELECT jobs.id, row_number() OVER (ORDER BY jobs.priority, jobs.created_at, jobs.id) AS place
        FROM jobs WHERE jobs.status = 'queued'
    ) AS waiting WHERE waiting.id = ANY (wanted)
$$
"""
# Names are searched for parts of them. Where the extension is not there, or the owner may not add it, the
# search reads the project's list. It is no index of the code's tables, which every database has.
NAMES_BY_INDEX = """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX ix_jobs_names ON jobs USING gin (name gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN NULL;
END $$;
-- As with labels (migration 0010): under row-level security only leakproof operators are looked up in an index.
DO $$ BEGIN
    ALTER FUNCTION texticlike(text, text) LEAKPROOF;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$
"""
PAGES_OF = ("status", "base_model", "template", "method", "key", "member")
COLUMNS = (
    *("created_by_member_id", "template", "notify", "parent_job_id", "parent_kind", "init_from"),
    *("pause_requested_at", "pause_reason", "paused_expires_at", "run_after", "deleted_at"),
    *("purged_at", "revision"),
)


def upgrade() -> None:
    """Adds the columns, the two states of a pause, and places in the queue."""
    op.execute(ADDED)
    op.execute(QUEUE_PLACES)
    op.execute(NAMES_BY_INDEX)
    _allow(STATUSES)


def downgrade() -> None:
    """Drops the columns. Fails while a job pauses."""
    _allow([status for status in STATUSES if not status.startswith("paus")])
    op.execute("DROP INDEX IF EXISTS ix_jobs_names")
    op.execute("DROP INDEX ix_jobs_rewards")
    op.execute("DROP FUNCTION reward_names")
    op.execute("DROP FUNCTION queue_place")
    op.execute("DROP FUNCTION queue_places")
    op.execute(f"DROP INDEX {', '.join(f'ix_jobs_page_of_{name}' for name in PAGES_OF)}")
    op.execute("DROP INDEX ix_jobs_queue")
    op.execute("CREATE INDEX ix_jobs_queue ON jobs (priority, queued_at) WHERE status = 'queued'")
    op.execute("ALTER TABLE attempts DROP COLUMN swept_at, DROP COLUMN gpu_seconds_before")
    op.execute(f"ALTER TABLE jobs {', '.join(f'DROP COLUMN {name}' for name in COLUMNS)}")


def _allow(statuses: tuple[str, ...] | list[str]) -> None:
    listed = ", ".join(f"'{status}'" for status in statuses)
    op.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_status")
    op.execute(f"ALTER TABLE jobs ADD CONSTRAINT ck_jobs_status CHECK (status IN ({listed}))")
