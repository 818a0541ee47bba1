"""How much better a video's reward is than that of others: what policy-gradient methods learn from.

Rewards that differ by no more than rounding count as equal, and equal rewards give advantages of
exactly 0. The published codes add 1e-6 or 1e-4 to the deviation instead, which depends on the reward's
unit and lets rounding through.

Letters: B videos of a step, G groups, n videos of a group, W remembered rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from vader_core.statistics import rounding

_ANY_PROMPT = "any"


def group_advantages(
    reward_B: torch.Tensor, *, group_size: int, normalised: bool = True
) -> torch.Tensor:
    """(B,) float64: each reward minus its group's mean, divided by the group's deviation if `normalised`.

    `group_size` videos in a row are a group (GRPO, arXiv 2402.03300; Flow-GRPO, equation 5).
    """
    reward_Gn = reward_B.double().reshape(-1, group_size)
    # Against the group's first, so that equal rewards give exact zeros.
    above_Gn = reward_Gn - reward_Gn[:, :1]
    above_Gn = above_Gn - above_Gn.mean(1, keepdim=True)
    differs_G1 = torch.tensor([[differ(one)] for one in reward_Gn])
    if normalised:
        above_Gn = above_Gn / above_Gn.std(1, correction=0, keepdim=True).where(differs_G1, 1.0)
    return above_Gn.where(differs_G1, 0.0).reshape(-1)


class PromptStatistics:
    """The last rewards of every prompt, against which new ones are measured (DDPO, arXiv 2305.13301, section 5).

    A prompt with fewer than `least` remembered rewards is measured against the last rewards of any prompt.
    At most `window` are remembered of each, and of any prompt at least those of the newest step.
    """

    def __init__(self, *, window: int, least: int) -> None:
        self._window, self._least = window, least
        self._rewards: dict[str, torch.Tensor] = {}

    def add(self, reward_B: torch.Tensor, prompt_ids: Sequence[str]) -> None:
        """Remembers the rewards of a step's videos."""
        self._rewards = self._with(reward_B.double(), prompt_ids)

    def advantages(self, reward_B: torch.Tensor, prompt_ids: Sequence[str]) -> torch.Tensor:
        """(B,) float64: as if the rewards were added, so that they count into their own mean and deviation."""
        reward_B = reward_B.double()
        rewards = self._with(reward_B, prompt_ids)
        enough = {
            name: name if len(rewards[name]) >= self._least else _ANY_PROMPT for name in prompt_ids
        }
        return torch.stack(
            [
                _standardised(reward, rewards[enough[name]])
                for reward, name in zip(reward_B, prompt_ids, strict=True)
            ]
        )

    def _with(self, reward_B: torch.Tensor, prompt_ids: Sequence[str]) -> dict[str, torch.Tensor]:
        """What is remembered once these are added."""
        rewards, nothing = dict(self._rewards), reward_B[:0]
        every = torch.cat([rewards.get(_ANY_PROMPT, nothing), reward_B])
        rewards[_ANY_PROMPT] = every[-max(self._window, len(reward_B)) :]
        for name, reward in zip(prompt_ids, reward_B, strict=True):
            of_prompt = torch.cat([rewards.get(name, nothing), reward[None]])
            rewards[name] = of_prompt[-self._window :]
        return rewards

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The remembered rewards, oldest first, by prompt."""
        return dict(self._rewards)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes what `state_dict` gave."""
        self._rewards = dict(state)


def _standardised(reward: torch.Tensor, measure_W: torch.Tensor) -> torch.Tensor:
    if not differ(measure_W):
        return torch.zeros_like(reward)
    return (reward - measure_W.mean()) / measure_W.std(correction=0)


def differ(rewards: torch.Tensor) -> bool:
    """Whether some of them differ by more than rounding."""
    return float(rewards.max() - rewards.min()) > rounding(rewards.tolist())
