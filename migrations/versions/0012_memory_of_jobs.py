"""What jobs take of a GPU's memory, by which workers know which of them they can hold."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns. Of jobs that are there already nothing is known: every worker may take them."""
    op.execute(
        "ALTER TABLE jobs ADD COLUMN least_gib double precision, ADD COLUMN peak_gib double precision"
    )


def downgrade() -> None:
    """Drops the columns."""
    op.execute("ALTER TABLE jobs DROP COLUMN least_gib, DROP COLUMN peak_gib")
