"""A job's base model, template and rewards without their versions, as columns that lists are filtered by.

Under row-level security an index on an expression is used only where its functions leak nothing, which
only a superuser may promise; a column compared with a text needs no promise. That an array contains another
still needs one, as labels do (migration 0010).
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UP = """
DROP INDEX ix_jobs_page_of_base_model, ix_jobs_page_of_template, ix_jobs_rewards;
ALTER TABLE jobs
    ADD COLUMN base_model_id text   GENERATED ALWAYS AS (split_part(base_model, '@', 1)) STORED,
    ADD COLUMN template_id   text   GENERATED ALWAYS AS (split_part(template, '@', 1)) STORED,
    ADD COLUMN reward_ids    text[] GENERATED ALWAYS AS (reward_names(rewards)) STORED;
ALTER TABLE jobs ALTER COLUMN base_model_id SET NOT NULL;
CREATE INDEX ix_jobs_page_of_base_model
    ON jobs (project_id, base_model_id, created_at DESC, id DESC);
CREATE INDEX ix_jobs_page_of_template
    ON jobs (project_id, template_id, created_at DESC, id DESC) WHERE template_id IS NOT NULL;
CREATE INDEX ix_jobs_rewards ON jobs USING gin (reward_ids);
DO $$ BEGIN
    ALTER FUNCTION arraycontains(anyarray, anyarray) LEAKPROOF;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$;
"""
DOWN = """
DROP INDEX ix_jobs_page_of_base_model, ix_jobs_page_of_template, ix_jobs_rewards;
ALTER TABLE jobs DROP COLUMN base_model_id, DROP COLUMN template_id, DROP COLUMN reward_ids;
CREATE INDEX ix_jobs_rewards ON jobs USING gin (reward_names(rewards));
CREATE INDEX ix_jobs_page_of_base_model
    ON jobs (project_id, split_part(base_model, '@', 1), created_at DESC, id DESC);
CREATE INDEX ix_jobs_page_of_template
    ON jobs (project_id, split_part(template, '@', 1), created_at DESC, id DESC)
    WHERE template IS NOT NULL;
"""


def upgrade() -> None:
    """Adds the columns and indexes them in place of the expressions."""
    op.execute(UP)


def downgrade() -> None:
    """The expressions again."""
    op.execute(DOWN)
