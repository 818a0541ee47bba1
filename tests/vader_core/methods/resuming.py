"""Whether a method's run that is interrupted ends as the run left alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from tests.vader_core.trainer import Trainer, figures
from vader_core import lines
from vader_core.lines import AnyLine


def ends_of(folder: Path, *, interrupted_after: int | None, **changes: Any) -> tuple[bytes, Any]:
    """The adapter's bytes and the figures of a run of three steps on the tiny models."""

    def then(line: AnyLine) -> None:
        if isinstance(line, lines.Step) and line.step == interrupted_after:
            os.kill(os.getpid(), signal.SIGTERM)

    folder.mkdir()
    job = {
        "evaluation": {"num_prompts": 1, "seeds": [1], "samples_to_keep": 0},
        "budget": {"max_steps": 3},
        "adapter": {"dropout": 0.2},
        **changes,
    }
    trainer = Trainer(folder)
    status, _ = trainer(then=then, **job)
    if interrupted_after is not None:
        assert status == 3
        status, _ = trainer("--resume", **job)
    assert status == 0
    adapter = (trainer.out / "adapter/adapter_model.safetensors").read_bytes()
    return adapter, figures(trainer.out / "metrics.jsonl")
