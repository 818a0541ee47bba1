"""Rewards that installed Python packages offer through the entry point group `vader.rewards`.

A package declares `name = module:factory`; an operator installs it beside this one and adds a row of
kind `entry_point` with `options` {"name": ...}. Jobs choose rows and never name code. `factory(params)`
gives an object whose `score(frames_BFCHW, prompts)` returns B numbers: see docs/own-reward.md.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch
from pydantic import JsonValue

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import CatalogueUnusable, RewardBackendFailed
from vader_core.spec import Prompt

GROUP = "vader.rewards"


class EntryPointReward:
    """What the package's object says; its failures are `RewardBackendFailed`."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        self._dtype = compute.precise_dtype
        found = _entry_point(row)
        # Foreign code may raise whatever it likes: here its failures become ours.
        try:
            self._reward: Any = found.load()(dict(params))
        except Exception as error:
            raise self._failed(f"cannot be made: {type(error).__name__}: {error}") from error

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,). Raises `RewardBackendFailed`."""
        try:
            found = self._reward.score(frames_BFCHW.to(self._dtype), prompts)
            score_B = torch.as_tensor(found, device=frames_BFCHW.device).to(self._dtype)
        except Exception as error:
            raise self._failed(f"raised {type(error).__name__}: {error}") from error
        if score_B.shape != (len(prompts),):
            shape = tuple(score_B.shape)
            raise self._failed(f"gave scores of shape {shape} for {len(prompts)} videos")
        if self.row.differentiable and frames_BFCHW.requires_grad and not score_B.requires_grad:
            raise self._failed("gave scores without a gradient, but its row says `differentiable`")
        return score_B

    def _failed(self, what: str) -> RewardBackendFailed:
        return RewardBackendFailed(
            f"The reward {self.row.id!r} {what}.",
            hint=f"Look at the package that offers {self.row.options.get('name')!r} in {GROUP}.",
        )


def _entry_point(row: RewardRow) -> EntryPoint:
    name = str(row.options.get("name", ""))
    offered = entry_points(group=GROUP)
    found = [one for one in offered if one.name == name]
    if len(found) != 1:
        problem = "no installed package offers" if not found else "several packages offer"
        raise CatalogueUnusable(
            f"The reward {row.id!r} asks for {name!r}, which {problem} in {GROUP}.",
            hint=f"Offered: {', '.join(sorted(offered.names)) or 'nothing'}.",
        )
    return found[0]
