"""The budget as it is now: that of the spec, until `budget.json` in the run folder says otherwise. Free of torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from vader_core.spec import Budget
from vader_core.strict import Strict


class Ceilings(Strict):
    """What budget.json holds: a budget, and the GPU-seconds that its `max_cost` buys (None: not limited)."""

    budget: Budget
    cost_gpu_seconds: float | None = None


class PresentBudget:
    """Looked at between steps: whoever watches over the run may raise a ceiling while it goes on."""

    def __init__(self, file: Path, first: Ceilings) -> None:
        self._file, self._now = file, first

    @property
    def budget(self) -> Budget:
        return self._now.budget

    @property
    def cost_gpu_seconds(self) -> float | None:
        return self._now.cost_gpu_seconds

    def look(self) -> None:
        """Takes in what the file says now. A file that is not whole changes nothing."""
        try:
            self._now = Ceilings.model_validate_json(self._file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return


def write_ceilings(file: Path, ceilings: Ceilings) -> None:
    """Puts `ceilings` into `file` so that no reader sees half of them."""
    staged = file.with_name(f"tmp-{file.name}")
    staged.write_text(ceilings.model_dump_json(), encoding="utf-8")
    staged.replace(file)
