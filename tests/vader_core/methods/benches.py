"""A method at work on a tiny model, without the loop around it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from tests.vader_core.tiny_models import stir
from tests.vader_core.trainer import process_settings_restored, small_spec
from vader_core.catalogue import BUILT_IN, Catalogue
from vader_core.ceilings import Spent
from vader_core.methods import learner_of
from vader_core.methods.learner import Learner
from vader_core.order import Order
from vader_core.resolve import resolve
from vader_core.run_folder import RunFolder
from vader_core.spec import JobSpec
from vader_core.workbench import set_up

# min(score, -1) of a score that is never negative.
CONSTANT = [{"reward": "tiny-action", "cap": -1.0}]


def learner(catalogue: Catalogue = BUILT_IN, **changes: Any) -> Learner:
    """The learner of a small spec with `changes`, its adapter stirred so that every weight has a gradient."""
    spec = JobSpec.model_validate(small_spec(**changes))
    resolved = resolve(spec, catalogue, spec.prompts.inline or [])
    order = Order(
        spec=resolved,
        catalogue=catalogue,
        images=Path(),
        folder=RunFolder(Path()),
        resume=False,
        device="cpu",
        threads=None,
        spent=Spent(),
        started=time.monotonic(),
    )
    with process_settings_restored():
        bench = set_up(order)
    stir(bench.adapter)
    return learner_of(bench, resolved)


def weights(learner: Learner) -> torch.Tensor:
    """The adapter's, as one vector."""
    return torch.cat([one.detach().flatten() for _, one in learner.bench.adapter.parameters()])


def gradient(learner: Learner) -> torch.Tensor:
    """The last update's, as one vector."""
    return torch.cat([one.flatten() for one in learner.bench.optimiser.gradients()])
