"""The one Celery task: somebody rang, look for work."""

from __future__ import annotations

from domain import queue
from worker.duty import Duty

duty = Duty()


@queue.app().task(name=queue.TASK)  # type: ignore[untyped-decorator]
def wake(bell: str = "") -> None:
    """Runs waiting jobs until none is left. `bell` is the id of the job that rang; any may be taken."""
    duty.work_until_idle(bell)
