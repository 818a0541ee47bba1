"""How many bytes each project has stored, counted where rows come and go."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Functions run as the owner: the API's role sees no counters but its own project's, and writes none.
COUNTER = """
CREATE TABLE stored_bytes (
    project_id uuid NOT NULL CONSTRAINT fk_stored_bytes_project_id REFERENCES projects,
    shard      bigint NOT NULL,
    size_bytes bigint NOT NULL,
    CONSTRAINT pk_stored_bytes PRIMARY KEY (project_id, shard)
);
GRANT SELECT ON stored_bytes TO vader_tenant;
ALTER TABLE stored_bytes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_project ON stored_bytes TO vader_tenant
    USING (project_id = nullif(current_setting('app.project_id', true), '')::uuid);

CREATE FUNCTION count_stored(project uuid, grown bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    INSERT INTO stored_bytes AS had SELECT project, pg_backend_pid() % 16, grown WHERE grown <> 0
        ON CONFLICT (project_id, shard) DO UPDATE SET size_bytes = had.size_bytes + excluded.size_bytes;
END;
"""
# Adapters that are made of checkpoints share their files: those count with the checkpoint while that is kept,
# and once where several adapters are made of the same.
ADAPTER = """
CREATE FUNCTION adapter_bytes(one adapters) RETURNS bigint LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN EXISTS (
        SELECT 1 FROM checkpoints AS kept WHERE kept.job_id = one.job_id
            AND kept.expired_at IS NULL AND starts_with(one.prefix, kept.prefix || '/')
    ) OR EXISTS (
        SELECT 1 FROM adapters AS same WHERE same.job_id = one.job_id
            AND same.prefix = one.prefix AND same.id < one.id
    ) THEN 0 ELSE coalesce(one.size_bytes, 0) END;
END;
"""
# OLD is null where a row is inserted, NEW where it is deleted.
COUNTED = {
    "uploads": """
        PERFORM count_stored(coalesce(NEW.project_id, OLD.project_id),
            coalesce(NEW.size_bytes, 0) - coalesce(OLD.size_bytes, 0));""",
    "prompt_sets": """
        PERFORM count_stored(coalesce(NEW.project_id, OLD.project_id),
            coalesce(NEW.size_bytes, 0) - coalesce(OLD.size_bytes, 0));""",
    "generations": """
        PERFORM count_stored(coalesce(NEW.project_id, OLD.project_id),
            CASE WHEN NEW.files_removed_at IS NULL THEN coalesce(NEW.size_bytes, 0) ELSE 0 END
            - CASE WHEN OLD.files_removed_at IS NULL THEN coalesce(OLD.size_bytes, 0) ELSE 0 END);""",
    "adapters": """
        PERFORM count_stored(coalesce(NEW.project_id, OLD.project_id),
            adapter_bytes(NEW) - adapter_bytes(OLD));""",
    "samples": """
        PERFORM count_stored(
            (SELECT project_id FROM jobs WHERE id = coalesce(NEW.job_id, OLD.job_id)),
            coalesce(NEW.size_bytes, 0) - coalesce(OLD.size_bytes, 0));""",
    "checkpoints": """
        PERFORM count_stored(
            (SELECT project_id FROM jobs WHERE id = coalesce(NEW.job_id, OLD.job_id)),
            CASE WHEN NEW.expired_at IS NULL THEN coalesce(NEW.size_bytes, 0) ELSE 0 END
            - CASE WHEN OLD.expired_at IS NULL THEN coalesce(OLD.size_bytes, 0) ELSE 0 END);
        IF TG_OP = 'UPDATE' AND OLD.expired_at IS NULL
            AND (NEW.expired_at IS NOT NULL OR NEW.prefix <> OLD.prefix) THEN
            PERFORM count_stored((SELECT project_id FROM jobs WHERE id = OLD.job_id), (
                SELECT coalesce(sum(adapter_bytes(made)), 0) FROM adapters AS made
                WHERE made.job_id = OLD.job_id AND starts_with(made.prefix, OLD.prefix || '/'))::bigint);
        END IF;""",
}
DELETED_JOBS = """
CREATE FUNCTION count_stored_of_deleted_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_stored(NEW.project_id, -(
        SELECT coalesce(sum(size_bytes), 0) FROM (
            SELECT size_bytes FROM samples WHERE job_id = NEW.id
            UNION ALL SELECT adapter_bytes(made) FROM adapters AS made WHERE job_id = NEW.id
        ) AS gone)::bigint);
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_count_stored AFTER UPDATE OF deleted_at ON jobs FOR EACH ROW
    WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION count_stored_of_deleted_job();
"""
STORED_BEFORE = """
INSERT INTO stored_bytes SELECT project_id, 0, sum(size_bytes) FROM (
    SELECT project_id, size_bytes FROM uploads
    UNION ALL SELECT project_id, size_bytes FROM prompt_sets
    UNION ALL SELECT project_id, size_bytes FROM generations WHERE files_removed_at IS NULL
    UNION ALL SELECT a.project_id, adapter_bytes(a) FROM adapters AS a JOIN jobs AS j ON j.id = a.job_id
        WHERE j.deleted_at IS NULL
    UNION ALL SELECT j.project_id, s.size_bytes FROM samples AS s JOIN jobs AS j ON j.id = s.job_id
        WHERE j.deleted_at IS NULL
    UNION ALL SELECT j.project_id, c.size_bytes FROM checkpoints AS c JOIN jobs AS j ON j.id = c.job_id
        WHERE c.expired_at IS NULL
) AS kept GROUP BY project_id;
"""


def upgrade() -> None:
    """Counts what is there, and from now on what comes and goes."""
    op.execute(COUNTER)
    op.execute(ADAPTER)
    for table, counting in COUNTED.items():
        op.execute(
            f"CREATE FUNCTION count_stored_{table}() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN {counting} RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_count_stored AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION count_stored_{table}()"
        )
    op.execute(DELETED_JOBS)
    op.execute(STORED_BEFORE)


def downgrade() -> None:
    """Drops the counters."""
    op.execute("DROP TRIGGER jobs_count_stored ON jobs")
    op.execute("DROP FUNCTION count_stored_of_deleted_job")
    for table in COUNTED:
        op.execute(f"DROP TRIGGER {table}_count_stored ON {table}")
        op.execute(f"DROP FUNCTION count_stored_{table}")
    op.execute("DROP FUNCTION adapter_bytes")
    op.execute("DROP FUNCTION count_stored")
    op.execute("DROP TABLE stored_bytes")
