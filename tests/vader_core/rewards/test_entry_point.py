from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.black_box import PROMPTS, row, videos
from vader_core.errors import CatalogueUnusable, RewardBackendFailed
from vader_core.rewards.entry_point import EntryPointReward

MODULE = """
import numpy as np


class Brightness:
    def __init__(self, params):
        self.offset = params.get("offset", 0.0)

    def score(self, frames, prompts):
        assert [prompt.prompt for prompt in prompts][1:] and frames.shape[0] == len(prompts)
        return frames.flatten(1).mean(1) + self.offset


class Detached(Brightness):
    def score(self, frames, prompts):
        return np.asarray(super().score(frames, prompts).detach())


class Broken:
    def __init__(self, params):
        pass

    def score(self, frames, prompts):
        raise KeyError("colour")


class Short(Broken):
    def score(self, frames, prompts):
        return [0.5]


def unmakable(params):
    raise RuntimeError("no licence")
"""
OFFERED = """[vader.rewards]
brightness = team_rewards_of_a_test:Brightness
detached = team_rewards_of_a_test:Detached
broken = team_rewards_of_a_test:Broken
short = team_rewards_of_a_test:Short
unmakable = team_rewards_of_a_test:unmakable
missing = team_rewards_of_a_test:Nothing
"""


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small distribution on the path, as an installer leaves it."""
    (tmp_path / "team_rewards_of_a_test.py").write_text(MODULE)
    folder = tmp_path / "team_rewards_of_a_test-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: team-rewards\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(OFFERED)
    monkeypatch.syspath_prepend(tmp_path)


def reward(name: str, *, differentiable: bool = False, **params: Any) -> EntryPointReward:
    described = row("entry_point", options={"name": name}, differentiable=differentiable)
    return EntryPointReward(described, params, checks.compute())


@pytest.mark.parametrize("name", ["brightness", "detached"])
def test_scores_are_those_of_the_installed_package(name: str) -> None:
    score = reward(name, offset=2.0).score(videos(), PROMPTS)
    assert score.dtype == torch.float64
    assert torch.allclose(score, videos().double().flatten(1).mean(1) + 2.0)


def test_a_differentiable_one_passes_its_gradient_on() -> None:
    checks.assert_gradient_is_right(reward("brightness", differentiable=True), checks.videos(8, 8))


def test_a_row_that_promises_a_gradient_in_vain_is_found_out() -> None:
    with pytest.raises(RewardBackendFailed, match="without a gradient"):
        reward("detached", differentiable=True).score(videos().requires_grad_(), PROMPTS)


@pytest.mark.parametrize(
    ("name", "message"),
    [("broken", "raised KeyError: 'colour'"), ("short", r"shape \(1,\) for 2 videos")],
)
def test_failures_of_the_package_are_typed_errors(name: str, message: str) -> None:
    with pytest.raises(RewardBackendFailed, match=message):
        reward(name).score(videos(), PROMPTS)


@pytest.mark.parametrize(("name", "message"), [("unmakable", "no licence"), ("missing", "Nothing")])
def test_what_cannot_be_made_is_a_typed_error(name: str, message: str) -> None:
    with pytest.raises(RewardBackendFailed, match=message):
        reward(name)


def test_a_name_that_nobody_offers_is_told_with_those_that_are() -> None:
    with pytest.raises(CatalogueUnusable, match="no installed package offers") as caught:
        reward("colour")
    assert "brightness" in caught.value.hint
