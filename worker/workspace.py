"""The folder in which one attempt works: made before the trainer starts, gone when the attempt is over.

<work_dir>/attempts/<job id>-<attempt>/
    supervisor      which process works here, so that a leftover can be told
    spec.json       the resolved spec
    log.txt         the trainer's stderr
    run/            the trainer's --out
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from domain.claims import Claim
from worker import orphans

log = logging.getLogger(__name__)


class Workspace:
    """Paths of one attempt."""

    def __init__(self, work_dir: Path, claim: Claim) -> None:
        self.root = work_dir.absolute() / "attempts" / f"{claim.job_id}-{claim.attempt}"
        self.spec = self.root / "spec.json"
        self.log = self.root / "log.txt"
        self.run = self.root / "run"

    def make(self, claim: Claim, *, supervisor: str) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.run.mkdir(parents=True)
        (self.root / "supervisor").write_text(supervisor, encoding="utf-8")
        self.spec.write_text(claim.spec.model_dump_json(), encoding="utf-8")
        self.log.touch()

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def remove_leftovers(work_dir: Path) -> None:
    """Removes the folders of attempts whose supervisor is dead: nobody will look at them again."""
    for folder in (work_dir.absolute() / "attempts").glob("*"):
        note = folder / "supervisor"
        if note.is_file() and not orphans.is_alive(note.read_text(encoding="utf-8")):
            log.info("removing what an ended worker left in %s", folder)
            shutil.rmtree(folder, ignore_errors=True)
