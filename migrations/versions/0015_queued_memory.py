"""Queued jobs by the memory that they need, so that a worker finds at once that none waits which it can hold."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the index."""
    op.execute(
        "CREATE INDEX ix_jobs_queued_memory ON jobs (least_gib, peak_gib) WHERE status = 'queued'"
    )


def downgrade() -> None:
    """Drops it."""
    op.execute("DROP INDEX ix_jobs_queued_memory")
