"""The Celery app of workers that make videos on demand: `celery -A worker.generation_app worker -Q generate -c 1`.

As `worker.app`, which says why its pool is `solo`; with a queue and a process of its own, so that generations
and training never wait for each other.
"""

from __future__ import annotations

from celery import signals

from domain import queue
from worker import generation_tasks

app = queue.app()
app.conf.update(worker_pool="solo", worker_redirect_stdouts=False)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def begin(**_about: object) -> None:
    generation_tasks.duty.begin()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def end(**_about: object) -> None:
    generation_tasks.duty.end()
