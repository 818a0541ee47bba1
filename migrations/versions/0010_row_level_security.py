"""Row-level security: the role that the API works as sees one project.

`domain.db` names the project in `app.project_id` for the length of a transaction; where it is not named,
the role sees nothing. The owner of the tables, as whom worker, sweeper and operators work, sees all: no
FORCE. Roles belong to the whole server, so the role may be there already, and may stay for other databases.

The owner needs no superuser's rights: it may make roles, or somebody made `vader_tenant` and granted it to
the owner (deploy/postgres-roles.sql).
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ROLE = """
DO $$ BEGIN
    -- Looked for first: who may not make roles may still work with one that was made for it.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vader_tenant') THEN
        CREATE ROLE vader_tenant NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$ BEGIN
    IF NOT pg_has_role(CURRENT_USER, 'vader_tenant', 'SET') THEN
        GRANT vader_tenant TO CURRENT_USER;
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO vader_tenant;
"""
ROLE_DROPPED = """
REVOKE USAGE ON SCHEMA public FROM vader_tenant;
DO $$ BEGIN
    DROP ROLE vader_tenant;
EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN NULL;
END $$;
"""
# Only leakproof functions are asked before the policies, and only what is asked before them can use an index.
# Containment tells nothing of what it compares. Only a superuser may say so: where the owner is none and nobody
# did it before (deploy/postgres-roles.sql), filters by label read the whole list.
LABELS_BY_INDEX = """
DO $$ BEGIN
    ALTER FUNCTION jsonb_contains(jsonb, jsonb) LEAKPROOF;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$;
"""
OWN = "nullif(current_setting('app.project_id', true), '')::uuid"
ALL = "SELECT, INSERT, UPDATE, DELETE"
OF_A_PROJECT = {
    "adapter_aliases": ALL,
    "adapters": ALL,
    "api_keys": "SELECT, INSERT, UPDATE",
    "audit_entries": "SELECT, INSERT",
    "events": "SELECT, INSERT",
    "generations": ALL,
    "idempotency_keys": "SELECT, INSERT",
    "job_templates": ALL,
    "jobs": "SELECT, INSERT, UPDATE",
    "member_sessions": "SELECT, INSERT, UPDATE",
    "members": "SELECT, INSERT, UPDATE",
    "project_quotas": "SELECT",
    "prompt_sets": ALL,
    "scorings": "SELECT, INSERT, UPDATE",
    "uploads": ALL,
    "usage_entries": "SELECT",
    "webhook_deliveries": ALL,
    "webhook_endpoints": ALL,
}
"""Tables with a `project_id`, and what the API does to their rows."""
OF_A_PARENT = {
    "attempts": ("jobs", "job_id", "SELECT, UPDATE"),
    "checkpoints": ("jobs", "job_id", "SELECT, UPDATE"),
    "evaluations": ("jobs", "job_id", "SELECT"),
    "log_chunks": ("jobs", "job_id", "SELECT"),
    "metric_points": ("jobs", "job_id", "SELECT"),
    "samples": ("jobs", "job_id", "SELECT"),
    "job_template_versions": ("job_templates", "template_id", ALL),
    "webhook_attempts": ("webhook_deliveries", "delivery_id", ALL),
}
"""Tables whose rows belong to whom their parent's row belongs to: parent, column, what the API does."""


def upgrade() -> None:
    """Makes the role and the policies."""
    op.execute(ROLE)
    _let("projects", "SELECT, UPDATE", f"id = {OWN}")
    for table, rights in OF_A_PROJECT.items():
        _let(table, rights, f"project_id = {OWN}")
    for table, (parent, column, rights) in OF_A_PARENT.items():
        # Not EXISTS: of that the planner makes a hash of all the project's jobs.
        owner = f"SELECT project_id FROM {parent} WHERE {parent}.id = {table}.{column}"
        _let(table, rights, f"({owner}) = {OWN}")
    op.execute("GRANT SELECT ON workers TO vader_tenant")
    op.execute(LABELS_BY_INDEX)


def downgrade() -> None:
    """Takes them away again."""
    op.execute("REVOKE ALL ON workers FROM vader_tenant")
    for table in ("projects", *OF_A_PROJECT, *OF_A_PARENT):
        op.execute(f"REVOKE ALL ON {table} FROM vader_tenant")
        op.execute(f"DROP POLICY own_project ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute(ROLE_DROPPED)


def _let(table: str, rights: str, visible: str) -> None:
    op.execute(f"GRANT {rights} ON {table} TO vader_tenant")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY own_project ON {table} TO vader_tenant"
        f" USING ({visible}) WITH CHECK ({visible})"
    )
