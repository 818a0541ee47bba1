"""The worker's Celery app: `celery -A worker.app worker -Q train -c 1`.

The pool is `solo`: the task, and in it the supervisor of the trainer, runs in Celery's own main thread.
 - SIGTERM reaches the supervisor in the same process: it drains, the task returns, Celery ends.
 - SIGKILL of "Celery" is SIGKILL of the supervisor; the kernel tells the keeper, the tree dies at once.
   With a pool of processes the pool's child stands between the two and would need signals of its own.
 - A reset of the broker's connection is noticed only after the task: nothing there can disturb it.
The price: a busy worker does not answer `celery inspect ping`. Its sign of life is its row in `workers`.
"""

from __future__ import annotations

from typing import Any

from celery import signals

from domain import queue
from worker import tasks

app = queue.app()
app.conf.update(worker_pool="solo", worker_redirect_stdouts=False)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def hear_own_bells(instance: Any, **_about: object) -> None:
    """The worker listens to a queue of its own, too, where the sweeper tries whether it hears."""
    instance.app.amqp.queues.select_add(queue.own_queue(tasks.duty.worker), auto_delete=True)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def begin(**_about: object) -> None:
    tasks.duty.begin()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def end(**_about: object) -> None:
    tasks.duty.end()
