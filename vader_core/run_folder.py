"""The names in a run's output folder. Free of torch.

spec.json            the resolved spec
metrics.jsonl        the step and evaluation lines so far
checkpoints/         step-000010/, ...
samples/             <pair>-<role>.mp4, and the base row of each pair for the sheet
sheet.png            base row over adapter row for each kept pair
adapter/             the finished adapter
stop.json            written by whoever wants the run to stop (vader_core.stopping)
budget.json          written by whoever changes the budget (vader_core.present_budget)
"""

from __future__ import annotations

from pathlib import Path

from vader_core.errors import SpecUnusable
from vader_core.files import write_whole
from vader_core.spec import JobSpec

BUDGET_FILE = "budget.json"


class RunFolder:
    """Paths of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spec = root / "spec.json"
        self.metrics = root / "metrics.jsonl"
        self.checkpoints = root / "checkpoints"
        self.samples = root / "samples"
        self.sheet = root / "sheet.png"
        self.adapter = root / "adapter"
        self.stop_file = root / "stop.json"
        self.budget_file = root / BUDGET_FILE

    def prepare(self, spec: JobSpec, *, resume: bool) -> None:
        """Makes the folders and writes the spec. Raises `SpecUnusable` when a run is there already
        and it was not asked to go on with it."""
        if not resume and (self.checkpoints.exists() or self.metrics.exists()):
            raise SpecUnusable(
                f"{self.root} already holds a run.",
                hint="Go on with it by --resume, or name another folder in --out.",
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.samples.mkdir(exist_ok=True)
        write_whole(self.spec, spec.model_dump_json(indent=2).encode() + b"\n")
