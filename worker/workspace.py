"""The folder in which one attempt works: made before the trainer starts, gone when the attempt is over.

<work_dir>/attempts/<job id>-<attempt>/
    supervisor      which process works here, so that a leftover can be told
    spec.json       the resolved spec
    log.txt         the trainer's stderr
    images/         the prompts' first images, named by the uploads' ids
    start/          the adapter or checkpoint of another job that this one starts from
    run/            the trainer's --out
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from uuid import UUID

from domain.claims import Claim
from vader_core.present_budget import Ceilings, write_ceilings
from vader_core.run_folder import BUDGET_FILE
from worker import orphans

log = logging.getLogger(__name__)


class Folder:
    """The folder of one attempt at a job or scoring."""

    def __init__(self, work_dir: Path, row_id: UUID, attempt: int) -> None:
        self.root = work_dir.absolute() / "attempts" / f"{row_id}-{attempt}"

    def make(self, *, supervisor: str) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        (self.root / "supervisor").write_text(supervisor, encoding="utf-8")

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


class Workspace(Folder):
    """Paths of one attempt at a job."""

    def __init__(self, work_dir: Path, claim: Claim) -> None:
        super().__init__(work_dir, claim.job_id, claim.attempt)
        self.spec = self.root / "spec.json"
        self.log = self.root / "log.txt"
        self.run = self.root / "run"
        self.images = self.root / "images"
        self.start = self.root / "start"

    def fill(self, claim: Claim) -> None:
        """What the trainer must find there."""
        self.run.mkdir()
        self.images.mkdir()
        self.spec.write_text(claim.spec.model_dump_json(), encoding="utf-8")
        write_ceilings(
            self.run / BUDGET_FILE,
            Ceilings(budget=claim.budget, cost_gpu_seconds=claim.cost_gpu_seconds),
        )
        self.log.touch()


def remove_leftovers(work_dir: Path) -> None:
    """Removes the folders of attempts whose supervisor is dead: nobody will look at them again."""
    for folder in (work_dir.absolute() / "attempts").glob("*"):
        note = folder / "supervisor"
        if note.is_file() and not orphans.is_alive(note.read_text(encoding="utf-8")):
            log.info("removing what an ended worker left in %s", folder)
            shutil.rmtree(folder, ignore_errors=True)
