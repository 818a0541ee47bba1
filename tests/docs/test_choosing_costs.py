"""docs/choosing-a-method.md: its table of what a video costs is what the denoiser is counted to do.

The same training steps show that docs/trainer.md has a row for each figure that they tell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.vader_core.methods.benches import learner

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "choosing-a-method.md").read_text(encoding="utf-8")
FIGURES = (DOCS / "trainer.md").read_text(encoding="utf-8").split("### The methods' own figures")[1]
STEPS, LEARNT, GROUP = 4, 2, 4
GIVEN: dict[str, Any] = {"step_choice": "given", "given_steps": [1]}
ONLINE: dict[str, Any] = {"group_size": GROUP, "train_steps": LEARNT}
NUMBERS = {"N": STEPS, "T": LEARNT, "n": GROUP, "i": 1, "D": 2, "K": 2, "U": 2, "g": 2}


def formula(row: str) -> str:
    """The first formula of a row of the table, as an expression of Python."""
    costs = PAGE.split("| forward-equivalents a video |")[1].split("\n\n")[0]
    (cells,) = (line.split("|") for line in costs.splitlines() if line.startswith(f"| {row}"))
    return re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", cells[2].split(";")[0].strip())


@pytest.mark.parametrize(
    ("row", "method"),
    [
        ("`reward_gradient`", {"differentiable_steps": 2}),
        ("`path: leap`", {"path": "leap", **GIVEN}),
        ("`path: clean_prediction`", {"path": "clean_prediction", **GIVEN}),
        ("`path: direct_align`", {"path": "direct_align", **GIVEN}),
        ("`path: last_step_redraws`", {"path": "last_step_redraws", "noise_draws": 2}),
        ("`ddpo`", {"type": "ddpo", "updates_per_step": 2, **ONLINE}),
        ("`nft`", {"type": "nft", "kl_weight": 0.0, **ONLINE}),
        ("`dpo`", {"type": "dpo", **ONLINE}),
        ("`sft_best`", {"type": "sft_best", **ONLINE}),
    ],
)
@pytest.mark.parametrize("both", [False, True], ids=["conditional-checkpointed", "both"])
def test_a_video_costs_what_the_page_says(row: str, method: dict[str, Any], both: bool) -> None:
    made = learner(
        base_model="tiny-wan",
        method={
            "batch_size": GROUP,
            "gradient_accumulation": 1,
            "guidance_gradient": "both" if both else "conditional",
            "gradient_checkpointing": not both,
            **method,
        },
        video={"inference_steps": STEPS, "guidance_scale": 3.0},
    )
    told = made.step(0)
    numbers = {**NUMBERS, "c": 2 if both else 1, "b": 3 if both else 4}
    # The page's own text, letters and arithmetic alone.
    expected = eval(formula(row), {"__builtins__": {}}, numbers)
    assert made.bench.base.denoiser_forwards == GROUP * expected
    assert all(f"\n| `{name}` |" in FIGURES for name in told.figures)
