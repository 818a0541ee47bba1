"""The indexes of the jobs table: what each list, queue and sweep finds its rows by."""

from __future__ import annotations

from sqlalchemy import Index, TextClause, text

_NEWEST = ("created_at DESC", "id DESC")


def job_indexes() -> list[Index]:
    """Indexes of the table `jobs`; the migrations make the same."""
    return [*_pages(), *_queue(), *_sweeps(), *_others()]


def _pages() -> list[Index]:
    """Pages of a project's jobs, all of them or by one filter, newest first."""
    return [
        Index("ix_jobs_page", "project_id", *_newest()),
        Index("ix_jobs_page_of_status", "project_id", "status", *_newest()),
        Index("ix_jobs_page_of_base_model", "project_id", "base_model_id", *_newest()),
        Index(
            "ix_jobs_page_of_template",
            "project_id",
            "template_id",
            *_newest(),
            postgresql_where=text("template_id IS NOT NULL"),
        ),
        Index("ix_jobs_page_of_method", "project_id", "method", *_newest()),
        Index("ix_jobs_page_of_key", "project_id", "created_by_key_id", *_newest()),
        Index(
            "ix_jobs_page_of_member",
            "project_id",
            "created_by_member_id",
            *_newest(),
            postgresql_where=text("created_by_member_id IS NOT NULL"),
        ),
        Index("ix_jobs_labels", "labels", postgresql_using="gin"),
        Index("ix_jobs_rewards", "reward_ids", postgresql_using="gin"),
    ]


def _queue() -> list[Index]:
    """Who is next, which jobs a GPU can hold, and how many of a project are under way."""
    return [
        Index(
            "ix_jobs_queue",
            *("priority", "created_at", "id"),
            postgresql_where=text("status = 'queued'"),
        ),
        Index(
            "ix_jobs_queued_memory",
            *("least_gib", "peak_gib"),
            postgresql_where=text("status = 'queued'"),
        ),
        Index(
            "ix_jobs_live",
            *("project_id", "status"),
            postgresql_where=text("finished_at IS NULL"),
        ),
    ]


def _sweeps() -> list[Index]:
    """What the sweeper looks for."""
    return [
        Index("ix_jobs_leases", "lease_until", postgresql_where=text("lease_until IS NOT NULL")),
        Index("ix_jobs_paused", "paused_expires_at", postgresql_where=text("status = 'paused'")),
        Index(
            "ix_jobs_unpurged",
            "deleted_at",
            postgresql_where=text("deleted_at IS NOT NULL AND purged_at IS NULL"),
        ),
    ]


def _others() -> list[Index]:
    """Jobs that estimates are made from."""
    return [
        Index(
            "ix_jobs_succeeded",
            text("finished_at DESC"),
            postgresql_where=text("status = 'succeeded'"),
        ),
        Index(
            "ix_jobs_alike",
            *("base_model", "method", text("created_at DESC")),
            postgresql_where=text("started_at IS NOT NULL"),
        ),
    ]


def _newest() -> tuple[TextClause, ...]:
    return tuple(text(key) for key in _NEWEST)
