"""What ran an attempt, a job's best evaluation, quotas of templates, and webhooks that tell of generations."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE attempts ADD COLUMN code_version text;
ALTER TABLE jobs ADD COLUMN best_evaluation jsonb;
ALTER TABLE project_quotas ADD COLUMN templates bigint, ADD COLUMN template_versions bigint;
ALTER TABLE webhook_deliveries ADD COLUMN generation_id uuid;
"""
BEST_SO_FAR = """
UPDATE jobs SET best_evaluation = best.shown FROM (
    SELECT DISTINCT ON (job_id)
        job_id, jsonb_build_object('heldout_reward', heldout_reward, 'step', step) AS shown
    FROM evaluations WHERE kind = 'periodic'
    ORDER BY job_id, heldout_reward DESC, step DESC
) AS best WHERE best.job_id = jobs.id;
"""


def upgrade() -> None:
    """Adds the columns and fills in the best evaluations of the jobs that are there."""
    op.execute(COLUMNS)
    op.execute(BEST_SO_FAR)


def downgrade() -> None:
    """Drops the columns."""
    op.execute("ALTER TABLE webhook_deliveries DROP COLUMN generation_id")
    op.execute("ALTER TABLE project_quotas DROP COLUMN templates, DROP COLUMN template_versions")
    op.execute("ALTER TABLE jobs DROP COLUMN best_evaluation")
    op.execute("ALTER TABLE attempts DROP COLUMN code_version")
