from __future__ import annotations

import pytest
import torch
from torch import nn

from vader_core.errors import CheckpointUnusable
from vader_core.method_spec import RewardGradient
from vader_core.optimiser import Optimiser

METHOD = RewardGradient(learning_rate=0.1, weight_decay=0.01)


def parameters() -> list[tuple[str, nn.Parameter]]:
    return [("a", nn.Parameter(torch.ones(3))), ("b", nn.Parameter(torch.ones(2, 2)))]


def update(named: list[tuple[str, nn.Parameter]], optimiser: Optimiser, value: float) -> None:
    for _, parameter in named:
        parameter.grad = torch.full_like(parameter, value)
    optimiser.update(learning_rate=0.1)


def test_a_restored_optimiser_goes_on_bit_for_bit() -> None:
    left_alone, stopped = parameters(), parameters()
    first, second = Optimiser(left_alone, METHOD), Optimiser(stopped, METHOD)
    for value in (0.3, -0.2):
        update(left_alone, first, value)
        update(stopped, second, value)
    resumed = Optimiser(stopped, METHOD)
    resumed.load_state_dict(second.state_dict())
    update(left_alone, first, 0.7)
    update(stopped, resumed, 0.7)
    for (_, one), (_, other) in zip(left_alone, stopped, strict=True):
        assert torch.equal(one, other)


def test_the_state_is_a_copy() -> None:
    named = parameters()
    optimiser = Optimiser(named, METHOD)
    update(named, optimiser, 0.3)
    state = optimiser.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    update(named, optimiser, 0.3)
    assert all(torch.equal(state[name], before[name]) for name in state)


def test_before_the_first_update_there_is_nothing_to_keep() -> None:
    optimiser = Optimiser(parameters(), METHOD)
    assert optimiser.state_dict() == {}
    optimiser.load_state_dict({})


def test_the_state_of_another_adapter_is_refused() -> None:
    named = parameters()
    optimiser = Optimiser(named, METHOD)
    update(named, optimiser, 0.3)
    with pytest.raises(CheckpointUnusable, match="do not belong"):
        Optimiser(named[:1], METHOD).load_state_dict(optimiser.state_dict())
