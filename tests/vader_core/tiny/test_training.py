"""Pace, learning rate and averaged weights of the training scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from vader_core.tiny import training


def _run(*, steps: int | None, minutes: float | None = None) -> training.Run:
    return training.Run(Path("unused"), minutes, steps, torch.device("cpu"), 0)


def test_a_run_ends_after_its_steps() -> None:
    taken = list(training.steps(_run(steps=5)))
    assert [step.number for step in taken] == [0, 1, 2, 3, 4]
    assert [step.progress for step in taken] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_a_run_ends_after_its_minutes_even_if_steps_are_left() -> None:
    taken = list(training.steps(_run(steps=10**9, minutes=0.02 / 60)))
    assert 0 < len(taken) < 10**6


def test_the_length_defaults_to_the_scripts_own_steps() -> None:
    parser = training.parser("a script")
    assert training.start(parser.parse_args(["--out", "x"]), steps=7).steps == 7
    timed = training.start(parser.parse_args(["--out", "x", "--minutes", "2"]), steps=7)
    assert (timed.steps, timed.minutes) == (None, 2)


def test_the_rate_warms_up_and_then_falls() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)
    rates = []
    for progress in (0.0, 0.02, 0.5, 0.999):
        training.set_rate(optimizer, peak=1.0, progress=progress)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] < 0.1
    assert rates[1] == pytest.approx(1, abs=0.01)
    assert rates[1] > rates[2] > rates[3]
    assert rates[3] == pytest.approx(0.02, abs=0.001)


def test_the_average_follows_the_weights_and_lags_behind() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = training.Average(net, decay=0.9)
    nn.init.ones_(net.weight)
    for _ in range(3):
        average.update(net)
    early = float(average.net.weight)
    for _ in range(200):
        average.update(net)
    assert 0.1 < early < 1
    assert float(average.net.weight) == pytest.approx(1, abs=1e-3)
    assert not average.net.weight.requires_grad


def test_a_step_with_an_exploding_gradient_is_clipped() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    training.descend(optimizer, 1e6 * net(torch.ones(1, 1)).sum(), [net])
    assert float(net.weight.detach()) == pytest.approx(-1, abs=1e-4)
