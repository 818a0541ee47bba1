"""The API, in a process that ends at once at a chosen moment of creating a job.

`python -m tests.scenarios.falling_api before_commit|after_commit --port N`
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sqlalchemy.orm import Session

from api.server import main
from domain import jobs, queue

FELL = 86


def fall(*_arguments: Any, **_options: Any) -> None:
    os._exit(FELL)


def fall_before_commit() -> None:
    """Everything of the job's transaction is sent to the database but its commit."""
    create, commit = jobs.create, Session.commit

    def create_and_mark(session: Session, **values: Any) -> Any:
        job = create(session, **values)
        session.info["falls"] = True
        return job

    def commit_or_fall(session: Session) -> None:
        if session.info.get("falls"):
            session.flush()
            fall()
        commit(session)

    jobs.create = create_and_mark
    Session.commit = commit_or_fall  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv.pop(1) == "before_commit":
        fall_before_commit()
    else:
        queue.ring = fall
    main()
