"""How an adapter learns: one module per method, all with the same step (`vader_core.methods.learner`)."""

from __future__ import annotations

import importlib

from vader_core.methods.learner import Learner
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench

# Module of this package and class, by the method's `type`.
_LEARNERS = {
    "reward_gradient": "reward_gradient:RewardGradientLearner",
    "ddpo": "ddpo:DdpoLearner",
    "grpo": "grpo:GrpoLearner",
    "nft": "nft:NftLearner",
    "dpo": "dpo:DpoLearner",
    "sft_best": "sft_best:SftBestLearner",
}


def learner_of(bench: Workbench, spec: JobSpec) -> Learner:
    """What takes the steps of a resolved spec's method."""
    module, name = _LEARNERS[spec.method.type].split(":")
    made: type[Learner] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return made(bench, spec)
