"""All tables of the first version, and the trigger that keeps terminal states."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PROJECTS = """
CREATE TABLE projects (
    id         uuid CONSTRAINT pk_projects PRIMARY KEY,
    name       text NOT NULL CONSTRAINT uq_projects_name UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE api_keys (
    id           uuid CONSTRAINT pk_api_keys PRIMARY KEY,
    project_id   uuid NOT NULL CONSTRAINT fk_api_keys_project_id REFERENCES projects,
    name         text NOT NULL,
    lookup_id    text NOT NULL CONSTRAINT uq_api_keys_lookup_id UNIQUE,
    secret_hash  bytea NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX ix_api_keys_project_id ON api_keys (project_id);

CREATE TABLE prompt_sets (
    id                uuid CONSTRAINT pk_prompt_sets PRIMARY KEY,
    project_id        uuid NOT NULL CONSTRAINT fk_prompt_sets_project_id REFERENCES projects,
    name              text NOT NULL,
    version           bigint NOT NULL,
    items             jsonb NOT NULL,
    sha256            text NOT NULL,
    created_by_key_id uuid CONSTRAINT fk_prompt_sets_created_by_key_id REFERENCES api_keys,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT uq_prompt_sets_project_id_name_version UNIQUE (project_id, name, version)
);

CREATE TABLE idempotency_keys (
    project_id  uuid NOT NULL CONSTRAINT fk_idempotency_keys_project_id REFERENCES projects,
    key         text NOT NULL,
    fingerprint text NOT NULL,
    status_code bigint NOT NULL,
    headers     jsonb NOT NULL,
    body        json NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (project_id, key)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
"""

JOBS = """
CREATE TABLE jobs (
    id                  uuid CONSTRAINT pk_jobs PRIMARY KEY,
    project_id          uuid NOT NULL CONSTRAINT fk_jobs_project_id REFERENCES projects,
    created_by_key_id   uuid CONSTRAINT fk_jobs_created_by_key_id REFERENCES api_keys,
    name                text NOT NULL,
    labels              jsonb NOT NULL,
    priority            bigint NOT NULL,
    base_model          text NOT NULL,
    rewards             text[] NOT NULL,
    asked_spec          jsonb NOT NULL,
    spec                jsonb NOT NULL,
    budget              jsonb NOT NULL,
    spec_hash           text NOT NULL,
    trace_id            text NOT NULL,
    status              text NOT NULL,
    phase               text NOT NULL,
    stop_reason         text,
    error               jsonb,
    cancel_requested_at timestamptz,
    keep_adapter        boolean NOT NULL DEFAULT true,
    attempt             bigint NOT NULL DEFAULT 0,
    preemptions         bigint NOT NULL DEFAULT 0,
    owner               text,
    lease_until         timestamptz,
    hinted_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    step                bigint NOT NULL DEFAULT 0,
    steps_total         bigint NOT NULL,
    reward_queries      bigint NOT NULL DEFAULT 0,
    evaluation_queries  bigint NOT NULL DEFAULT 0,
    gpu_seconds         double precision NOT NULL DEFAULT 0,
    wall_clock_s        double precision NOT NULL DEFAULT 0,
    warned_ceilings     text[] NOT NULL DEFAULT '{}'::text[],
    latest_metrics      jsonb,
    evaluation          jsonb,
    sheet               jsonb,
    adapter_id          uuid,
    last_seq            bigint NOT NULL DEFAULT 0,
    version             bigint NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    finished_at         timestamptz,
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    queue_expires_at    timestamptz,
    deadline_at         timestamptz,
    CONSTRAINT ck_jobs_status CHECK (status IN ('queued', 'starting', 'running', 'finalizing',
        'cancelling', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT ck_jobs_lease_has_owner CHECK ((lease_until IS NULL) = (owner IS NULL))
);
CREATE INDEX ix_jobs_page ON jobs (project_id, created_at DESC, id DESC);
CREATE INDEX ix_jobs_queue ON jobs (priority, queued_at) WHERE status = 'queued';
CREATE INDEX ix_jobs_leases ON jobs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX ix_jobs_labels ON jobs USING gin (labels);

CREATE FUNCTION keep_terminal_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is %: a terminal status never changes', OLD.id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER jobs_keep_terminal_status BEFORE UPDATE OF status ON jobs FOR EACH ROW
    WHEN (OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION keep_terminal_status();

CREATE TABLE attempts (
    job_id             uuid NOT NULL CONSTRAINT fk_attempts_job_id REFERENCES jobs,
    number             bigint NOT NULL,
    worker             text NOT NULL,
    hardware           text NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_heartbeat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at           timestamptz,
    outcome            text,
    error              jsonb,
    resumed_from_step  bigint,
    last_step          bigint NOT NULL DEFAULT 0,
    trainer_started_at timestamptz,
    environment        jsonb,
    log                jsonb,
    CONSTRAINT pk_attempts PRIMARY KEY (job_id, number)
);

CREATE TABLE workers (
    name         text CONSTRAINT pk_workers PRIMARY KEY,
    hardware     text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_bell_at timestamptz
);
"""

RESULTS = """
CREATE TABLE events (
    job_id  uuid NOT NULL CONSTRAINT fk_events_job_id REFERENCES jobs,
    seq     bigint NOT NULL,
    id      uuid NOT NULL CONSTRAINT uq_events_id UNIQUE,
    type    text NOT NULL,
    level   text NOT NULL,
    message text NOT NULL,
    data    jsonb NOT NULL,
    attempt bigint NOT NULL,
    step    bigint NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_events PRIMARY KEY (job_id, seq)
);

CREATE TABLE metric_points (
    job_id         uuid NOT NULL CONSTRAINT fk_metric_points_job_id REFERENCES jobs,
    key            text NOT NULL,
    step           bigint NOT NULL,
    value          double precision NOT NULL,
    attempt        bigint NOT NULL,
    reward_queries bigint NOT NULL,
    gpu_seconds    double precision NOT NULL,
    wall_s         double precision NOT NULL,
    at             timestamptz NOT NULL,
    CONSTRAINT pk_metric_points PRIMARY KEY (job_id, key, step)
);

CREATE TABLE samples (
    id         uuid CONSTRAINT pk_samples PRIMARY KEY,
    job_id     uuid NOT NULL CONSTRAINT fk_samples_job_id REFERENCES jobs,
    attempt    bigint NOT NULL,
    step       bigint NOT NULL,
    role       text NOT NULL,
    pair       text NOT NULL,
    prompt_id  text NOT NULL,
    prompt     text NOT NULL,
    seed       bigint NOT NULL,
    score      double precision NOT NULL,
    key        text NOT NULL,
    sha256     text NOT NULL,
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT uq_samples_job_id_step_pair_role UNIQUE (job_id, step, pair, role)
);

CREATE TABLE checkpoints (
    id         uuid CONSTRAINT pk_checkpoints PRIMARY KEY,
    job_id     uuid NOT NULL CONSTRAINT fk_checkpoints_job_id REFERENCES jobs,
    attempt    bigint NOT NULL,
    step       bigint NOT NULL,
    prefix     text NOT NULL,
    files      jsonb NOT NULL,
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expired_at timestamptz,
    CONSTRAINT uq_checkpoints_job_id_step UNIQUE (job_id, step)
);

CREATE TABLE evaluations (
    id             uuid CONSTRAINT pk_evaluations PRIMARY KEY,
    job_id         uuid NOT NULL CONSTRAINT fk_evaluations_job_id REFERENCES jobs,
    attempt        bigint NOT NULL,
    kind           text NOT NULL,
    step           bigint NOT NULL,
    heldout_reward double precision NOT NULL,
    verdict        text,
    data           jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT uq_evaluations_job_id_kind_step UNIQUE (job_id, kind, step)
);

CREATE TABLE adapters (
    id         uuid CONSTRAINT pk_adapters PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT fk_adapters_project_id REFERENCES projects,
    job_id     uuid NOT NULL CONSTRAINT fk_adapters_job_id REFERENCES jobs
                   CONSTRAINT uq_adapters_job_id UNIQUE,
    attempt    bigint NOT NULL,
    step       bigint NOT NULL,
    prefix     text NOT NULL,
    files      jsonb NOT NULL,
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_adapters_project_id ON adapters (project_id);
"""


def upgrade() -> None:
    """Creates everything."""
    for statements in (PROJECTS, JOBS, RESULTS):
        op.execute(statements)


def downgrade() -> None:
    """Drops everything."""
    op.execute(
        "DROP TABLE adapters, evaluations, checkpoints, samples, metric_points, events, workers,"
        " attempts, jobs, idempotency_keys, prompt_sets, api_keys, projects"
    )
    op.execute("DROP FUNCTION keep_terminal_status")
