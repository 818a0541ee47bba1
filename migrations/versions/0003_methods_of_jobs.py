"""The method of every job beside its base model and rewards, for lists."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Takes the method of the jobs that are there from their specs."""
    op.execute("ALTER TABLE jobs ADD COLUMN method text")
    op.execute("UPDATE jobs SET method = spec #>> '{method,type}'")
    op.execute("ALTER TABLE jobs ALTER COLUMN method SET NOT NULL")


def downgrade() -> None:
    """Drops the column; specs keep the method."""
    op.execute("ALTER TABLE jobs DROP COLUMN method")
