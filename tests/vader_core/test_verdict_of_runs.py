"""What a whole run makes of rewards that nothing can raise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vader_core.rewards.black_box import row
from tests.vader_core.trainer import Trainer, of_type
from vader_core import lines

MODULE = """
import torch


class Constant:
    def __init__(self, params):
        pass

    def score(self, frames, prompts):
        return 0.3 + 0.0 * frames.flatten(1).mean(1)


class Brightness(Constant):
    def score(self, frames, prompts):
        return frames.flatten(1).mean(1)


class NeverSeen(Constant):
    '''The probability of a label that never occurs: dust, of which bright videos have more.'''

    def score(self, frames, prompts):
        return torch.sigmoid(4 * frames.flatten(1).mean(1) - 22)


class Rounded(Constant):
    '''A thousand and what its float32 loses of a far smaller part.'''

    def score(self, frames, prompts):
        return 1000 + 1e-4 * frames.flatten(1).mean(1)
"""
OFFERED = """[vader.rewards]
constant = rewards_of_a_test:Constant
brightness = rewards_of_a_test:Brightness
never-seen = rewards_of_a_test:NeverSeen
rounded = rewards_of_a_test:Rounded
"""
HELD_OUT = [
    {"prompt": f"a {colour} {shape} moving left", "heldout": colour != "red"}
    for colour in ("red", "blue", "green")
    for shape in ("circle", "square", "triangle")
]


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """With a package of rewards on the path and rows for them, as an operator adds them."""
    (tmp_path / "rewards_of_a_test.py").write_text(MODULE)
    package = tmp_path / "rewards_of_a_test-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: rewards\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(OFFERED)
    monkeypatch.syspath_prepend(tmp_path)
    changes: dict[str, dict[str, Any]] = {
        "constant": {},
        "brightness": {"range": (0, 1)},
        "never-seen": {"range": (0, 1), "objective": "log_score"},
        "rounded": {},
    }
    rows = [
        row(
            "entry_point", id=name, options={"name": name}, differentiable=True, **fields
        ).model_dump(mode="json")
        for name, fields in changes.items()
    ]
    (tmp_path / "rows.json").write_text(json.dumps({"rewards": rows}))
    return Trainer(tmp_path)


def final(trainer: Trainer, reward: str, **evaluation: Any) -> lines.EvaluationDone:
    status, seen = trainer(
        "--catalogue",
        str(trainer.folder / "rows.json"),
        rewards=[{"reward": reward}],
        guards=[],
        prompts={"inline": HELD_OUT},
        method={"learning_rate": 1e-2},
        evaluation={"num_prompts": 6, "seeds": [1], "samples_to_keep": 0, **evaluation},
        budget={"max_steps": 4},
    )
    assert status == 0
    assert not of_type(seen, lines.Warned)
    found: lines.EvaluationDone = of_type(seen, lines.EvaluationDone)[-1]
    assert of_type(seen, lines.Done)[0].verdict == found.verdict
    return found


def test_what_can_be_raised_is_improved(trainer: Trainer) -> None:
    """The run of the tests below, with a reward that does depend on the videos."""
    found = final(trainer, "brightness", wanted_half_width=0.01)
    assert found.verdict == "improved"
    needed = found.pairs_needed
    assert needed is not None
    assert (needed.wanted, needed.half_width) == ("given", 0.01)
    assert needed.pairs == needed.prompts
    assert needed.prompts is not None
    assert needed.prompts > 6
    card = (trainer.out / "adapter/README.md").read_text()
    assert f"takes about {needed.prompts} held-out prompts ({needed.pairs} pairs)" in card


def test_a_constant_reward_makes_no_clear_difference(trainer: Trainer) -> None:
    found = final(trainer, "constant")
    assert found.verdict == "no_clear_difference"
    assert found.difference is not None
    assert found.difference.delta_ci95 == (0.0, 0.0)
    assert found.pairs_needed is not None
    assert found.pairs_needed.unknown_because == "no_difference"


@pytest.mark.parametrize("reward", ["never-seen", "rounded"])
def test_neither_dust_nor_rounding_is_a_difference(trainer: Trainer, reward: str) -> None:
    found = final(trainer, reward)
    assert found.verdict == "no_clear_difference"
    assert found.difference is not None
    assert found.difference.delta != 0
    if reward == "never-seen":
        # By its interval alone it would be one: training does raise the dust, for every prompt.
        assert found.difference.delta_ci95[0] > 0
        assert found.difference.adapter < 1e-6
