"""A project's events as one feed, and webhook endpoints with their deliveries."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Events that are there get the number of this transaction: they come before all later ones.
FEED = """
ALTER TABLE jobs ADD COLUMN last_xact bigint NOT NULL DEFAULT 0;
ALTER TABLE events
    ADD COLUMN project_id uuid CONSTRAINT fk_events_project_id REFERENCES projects,
    ADD COLUMN xact       bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint;
UPDATE events SET project_id = jobs.project_id FROM jobs WHERE jobs.id = events.job_id;
ALTER TABLE events ALTER COLUMN project_id SET NOT NULL;
CREATE INDEX ix_events_feed ON events (project_id, xact, job_id, seq);
CREATE INDEX ix_events_feed_by_type ON events (project_id, type, xact, job_id, seq)
    WHERE type <> 'job.metric';
"""

WEBHOOKS = """
CREATE TABLE webhook_endpoints (
    id                         uuid CONSTRAINT pk_webhook_endpoints PRIMARY KEY,
    project_id                 uuid NOT NULL
        CONSTRAINT fk_webhook_endpoints_project_id REFERENCES projects,
    url                        text NOT NULL,
    description                text NOT NULL,
    event_types                text[],
    enabled                    boolean NOT NULL DEFAULT true,
    disabled_reason            text,
    failing_since              timestamptz,
    secret                     bytea NOT NULL,
    previous_secret            bytea,
    previous_secret_expires_at timestamptz,
    version                    bigint NOT NULL DEFAULT 1,
    created_at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at                 timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_webhook_endpoints_page
    ON webhook_endpoints (project_id, created_at DESC, id DESC);

CREATE TABLE webhook_deliveries (
    id              uuid CONSTRAINT pk_webhook_deliveries PRIMARY KEY,
    endpoint_id     uuid NOT NULL CONSTRAINT fk_webhook_deliveries_endpoint_id
        REFERENCES webhook_endpoints ON DELETE CASCADE,
    project_id      uuid NOT NULL
        CONSTRAINT fk_webhook_deliveries_project_id REFERENCES projects,
    event_id        uuid NOT NULL,
    event_type      text NOT NULL,
    job_id          uuid,
    payload         text NOT NULL,
    status          text NOT NULL DEFAULT 'pending',
    tries           bigint NOT NULL DEFAULT 0,
    attempts        bigint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT clock_timestamp(),
    lease_until     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    CONSTRAINT ck_webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed'))
);
CREATE INDEX ix_webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX ix_webhook_deliveries_held ON webhook_deliveries (project_id, endpoint_id)
    WHERE lease_until IS NOT NULL;
CREATE INDEX ix_webhook_deliveries_page
    ON webhook_deliveries (endpoint_id, created_at DESC, id DESC);
CREATE INDEX ix_webhook_deliveries_created_at ON webhook_deliveries (created_at);

CREATE TABLE webhook_attempts (
    delivery_id uuid NOT NULL CONSTRAINT fk_webhook_attempts_delivery_id
        REFERENCES webhook_deliveries ON DELETE CASCADE,
    number      bigint NOT NULL,
    at          timestamptz NOT NULL,
    duration_s  double precision NOT NULL,
    status_code bigint,
    error       text,
    CONSTRAINT pk_webhook_attempts PRIMARY KEY (delivery_id, number)
);
"""


def upgrade() -> None:
    """Numbers the events by their transactions and creates the tables of webhooks."""
    for statements in (FEED, WEBHOOKS):
        op.execute(statements)


def downgrade() -> None:
    """Drops what was added."""
    op.execute("DROP TABLE webhook_attempts, webhook_deliveries, webhook_endpoints")
    op.execute("ALTER TABLE events DROP COLUMN project_id, DROP COLUMN xact")
    op.execute("ALTER TABLE jobs DROP COLUMN last_xact")
