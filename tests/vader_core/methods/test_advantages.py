from __future__ import annotations

import pytest
import torch

from vader_core.methods.advantages import PromptStatistics, group_advantages


def rewards(count: int) -> torch.Tensor:
    return 3 + 2 * torch.randn(count, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("normalised", [True, False])
def test_groups_have_zero_mean_each(normalised: bool) -> None:
    reward_B = rewards(12)
    advantage_Gn = group_advantages(reward_B, group_size=4, normalised=normalised).reshape(3, 4)
    assert advantage_Gn.mean(1).abs().max() < 1e-15
    expected = 1.0 if normalised else reward_B.double().reshape(3, 4).std(1, correction=0)
    torch.testing.assert_close(
        advantage_Gn.std(1, correction=0), torch.ones(3, dtype=torch.float64) * expected
    )
    assert torch.equal(advantage_Gn.argsort(1), reward_B.reshape(3, 4).argsort(1))


def test_groups_do_not_see_each_other() -> None:
    reward_B = rewards(8)
    moved_B = reward_B + torch.tensor([0.0] * 4 + [100.0] * 4)
    torch.testing.assert_close(
        group_advantages(reward_B, group_size=4),
        group_advantages(moved_B, group_size=4),
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("constant", [0.1, -7.3, 0.0, 1e8])
def test_equal_rewards_give_exact_zeros(constant: float) -> None:
    reward_B = torch.full((6,), constant)
    assert torch.equal(group_advantages(reward_B, group_size=3), torch.zeros(6).double())
    statistics = PromptStatistics(window=4, least=2)
    for _ in range(3):
        advantage_B = statistics.advantages(reward_B, list("aababb"))
        assert torch.equal(advantage_B, torch.zeros(6).double())
        statistics.add(reward_B, list("aababb"))


def test_rounding_is_not_a_difference() -> None:
    reward_B = 0.3 + 1e-8 * torch.arange(6).double()
    assert not group_advantages(reward_B, group_size=3).any()
    assert not PromptStatistics(window=4, least=2).advantages(reward_B, ["a"] * 6).any()


def test_only_the_group_that_differs_is_learnt_from() -> None:
    advantage_B = group_advantages(torch.tensor([2.0, 2.0, 1.0, 3.0]), group_size=2)
    assert advantage_B.tolist() == [0, 0, -1, 1]


def test_a_prompt_is_measured_by_its_own_last_rewards() -> None:
    statistics = PromptStatistics(window=4, least=3)
    statistics.add(torch.tensor([100.0, 1.0, 50.0, 2.0, 3.0]), list("ababb"))
    new_B = torch.tensor([6.0, 5.0])
    window_W = torch.tensor([2.0, 3.0, 6.0, 5.0], dtype=torch.float64)
    expected = (new_B.double() - window_W.mean()) / window_W.std(correction=0)
    torch.testing.assert_close(statistics.advantages(new_B, list("bb")), expected)


def test_a_new_prompt_is_measured_by_the_last_rewards_of_any() -> None:
    statistics = PromptStatistics(window=4, least=3)
    statistics.add(torch.tensor([9.0, 1.0, 5.0, 2.0, 3.0]), list("ababb"))
    window_W = torch.tensor([5.0, 2.0, 3.0, 8.0], dtype=torch.float64)
    expected = (8 - window_W.mean()) / window_W.std(correction=0)
    advantage_B = statistics.advantages(torch.tensor([8.0]), ["c"])
    torch.testing.assert_close(advantage_B, expected[None])


def test_a_large_step_is_measured_as_a_whole() -> None:
    reward_B = rewards(10)
    advantage_B = PromptStatistics(window=2, least=3).advantages(reward_B, list("abcdefghij"))
    assert advantage_B.mean().abs() < 1e-12
    assert float(advantage_B.std(correction=0)) == pytest.approx(1)


def test_measuring_remembers_nothing_and_memory_can_be_saved() -> None:
    statistics = PromptStatistics(window=4, least=2)
    statistics.add(rewards(6), list("abcabc"))
    before = {name: tensor.clone() for name, tensor in statistics.state_dict().items()}
    first = statistics.advantages(rewards(3), list("abd"))
    assert statistics.state_dict().keys() == before.keys()
    assert all(torch.equal(statistics.state_dict()[name], before[name]) for name in before)
    other = PromptStatistics(window=4, least=2)
    other.load_state_dict(before)
    assert torch.equal(other.advantages(rewards(3), list("abd")), first)
