"""The Celery task of workers that try rewards: somebody rang, look for scorings."""

from __future__ import annotations

from domain import queue, scorings
from worker.scoring import work_of
from worker.short_duty import ShortDuty

duty = ShortDuty(scorings.TASKS, work_of, kind="scoring", ring=queue.ring_scorer)


@queue.app().task(name=queue.SCORE_TASK)  # type: ignore[untyped-decorator]
def score(bell: str = "") -> None:
    """Runs waiting scorings until none is left. `bell` is the id of the one that rang."""
    duty.work_until_idle(bell)
