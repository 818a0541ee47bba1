"""What is refused before a run begins, for every method; and one step of all kinds on a flow from noise to data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CMStochasticIterativeScheduler

from tests.vader_core.conformance import models_mochi
from tests.vader_core.methods.benches import learner, weights
from vader_core.catalogue import BUILT_IN, Catalogue
from vader_core.errors import SpecUnusable

ONLINE = ["ddpo", "grpo", "nft", "dpo", "sft_best"]
SHORTCUTS: dict[str, dict[str, Any]] = {
    "clean prediction": {"path": "clean_prediction", "step_choice": "random"},
    "leap": {"path": "leap", "step_choice": "random"},
    "redraws": {"path": "last_step_redraws"},
    "direct align": {"path": "direct_align", "step_choice": "random"},
    "anchor": {"base_sample_weight": 1.0},
}
METHODS = {"sampler": {}, **SHORTCUTS, **{name: {"type": name, "group_size": 2} for name in ONLINE}}
RECORDED = set(METHODS) - {"sampler", "clean prediction", "leap"}


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_needs_of_the_sampler_is_checked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = learner(base_model="tiny-wan", method=METHODS[name], video={"inference_steps": 3})
    base, before = made.bench.base, weights(made)
    random, forwards = torch.get_rng_state(), base.denoiser_forwards
    made.check()
    assert torch.equal(weights(made), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert base.denoiser_forwards == forwards

    def refused() -> bool:
        try:
            made.check()
        except SpecUnusable:
            return True
        return False

    with monkeypatch.context() as changes:
        changes.setattr(base, "row", base.row.model_copy(update={"revisitable": False}))
        assert refused() == (name in RECORDED)
    monkeypatch.setattr(base.pipeline, "scheduler", UnknownProcess())
    assert refused() == (name != "sampler")


class UnknownProcess(CMStochasticIterativeScheduler):  # type: ignore[misc]
    """Takes as many timesteps as a pipeline asks for."""

    def set_timesteps(self, steps: int, device: Any = None) -> None:
        self.timesteps = torch.arange(steps, 0, -1, device=device)


# The transformer asks for an autocast that a CPU does not have.
@pytest.mark.filterwarnings("ignore:In CPU autocast")
def test_methods_learn_from_a_flow_that_runs_from_noise_to_data(tmp_path: Path) -> None:
    row = models_mochi.build(tmp_path)
    catalogue = Catalogue(base_models={row.id: row}, rewards=BUILT_IN.rewards)
    for name in ("grpo", "nft"):
        made = learner(
            catalogue,
            base_model=row.id,
            method={**METHODS[name], "learning_rate": 1e-3},
            video={"width": None, "height": None, "num_frames": None, "inference_steps": 3},
        )
        made.check()
        before = weights(made)
        result = made.step(0)
        assert result.grad_norm > 0
        assert torch.isfinite(weights(made)).all()
        assert not torch.equal(weights(made), before)
