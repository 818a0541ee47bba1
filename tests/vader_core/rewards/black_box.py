"""Rows of black-box rewards as an operator writes them, and videos to score with them."""

from __future__ import annotations

from typing import Any

import torch

from vader_core.catalogue import RewardRow
from vader_core.spec import Prompt

PROMPTS = [Prompt(prompt="a red circle", target="left"), Prompt(prompt="ein grünes Blatt")]


def row(kind: str, **changes: Any) -> RewardRow:
    fields = {
        "id": "ours",
        "version": "1",
        "title": "",
        "kind": kind,
        "differentiable": False,
        "per": "video",
        "range": (None, None),
    }
    return RewardRow.model_validate({**fields, **changes})


def videos() -> torch.Tensor:
    return torch.rand(2, 3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
