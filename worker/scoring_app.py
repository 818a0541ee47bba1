"""The Celery app of workers that try rewards: `celery -A worker.scoring_app worker -Q score -c 1`.

As `worker.app`, which says why its pool is `solo`; with a queue and a process of its own, so that trying a
reward and training never wait for each other.
"""

from __future__ import annotations

from celery import signals

from domain import queue
from worker import scoring_tasks

app = queue.app()
app.conf.update(worker_pool="solo", worker_redirect_stdouts=False)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def begin(**_about: object) -> None:
    scoring_tasks.duty.begin()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def end(**_about: object) -> None:
    scoring_tasks.duty.end()
