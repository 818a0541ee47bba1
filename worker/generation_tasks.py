"""The Celery task of workers that make videos on demand: somebody rang, look for generations."""

from __future__ import annotations

from domain import generations, queue
from worker.generation import work_of
from worker.short_duty import ShortDuty

duty = ShortDuty(generations.TASKS, work_of, kind="generation", ring=queue.ring_generator)


@queue.app().task(name=queue.GENERATE_TASK)  # type: ignore[untyped-decorator]
def generate(bell: str = "") -> None:
    """Runs waiting generations until none is left. `bell` is the id of the one that rang."""
    duty.work_until_idle(bell)
