"""What every training script of the tiny world shares: arguments, pace, learning rate, averaged weights."""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)

_WARM_UP = 0.02
_FINAL_RATE = 0.02
_REPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """How long, where and from which seed a script trains."""

    out: Path
    minutes: float | None
    steps: int | None
    device: torch.device
    seed: int

    def generator(self) -> torch.Generator:
        """The CPU generator that draws this run's data."""
        return torch.Generator().manual_seed(self.seed)


class Step(NamedTuple):
    """One optimiser step: its number and the part of the run that lies behind it, in [0, 1)."""

    number: int
    progress: float


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that all training scripts take."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--out", type=Path, required=True, help="weight folder to write")
    arguments.add_argument("--minutes", type=float, help="train this long (wall clock)")
    arguments.add_argument("--steps", type=int, help="train this many optimiser steps (repeatable)")
    arguments.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=1, help="CPU threads")
    return arguments


def start(arguments: argparse.Namespace, *, steps: int) -> Run:
    """Seeds torch and fixes the run's length: --minutes, --steps, or else `steps`."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    limit = arguments.steps or (None if arguments.minutes else steps)
    device = torch.device(arguments.device)
    return Run(arguments.out, arguments.minutes, limit, device, arguments.seed)


def steps(run: Run) -> Iterator[Step]:
    """Steps until the run's length in steps or minutes is reached, whichever comes first."""
    begun, index = time.monotonic(), 0
    while True:
        by_time = (time.monotonic() - begun) / (60 * run.minutes) if run.minutes else 0.0
        progress = max(by_time, index / run.steps if run.steps else 0.0)
        if progress >= 1:
            return
        yield Step(index, progress)
        index += 1


def set_rate(optimizer: torch.optim.Optimizer, *, peak: float, progress: float) -> None:
    """Linear warm-up over the first 2 % of the run, then a cosine down to 2 % of the peak."""
    cosine = _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = peak * min(1.0, (progress + 1e-3) / _WARM_UP) * cosine


def descend(
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    nets: list[nn.Module],
    *,
    clip: float = 1.0,
) -> None:
    """One optimiser step with the joint gradient norm clipped."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [parameter for net in nets for parameter in net.parameters()]
    torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()


class Average(Generic[Net]):
    """An exponential moving average of a net's weights, with a short memory at the start."""

    def __init__(self, net: Net, *, decay: float = 0.999) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(requires_grad=False)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, net: Net) -> None:
        """Moves the average towards the net's present weights."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        averaged: list[torch.Tensor] = list(self.net.parameters())
        present: list[torch.Tensor] = list(net.parameters())
        torch._foreach_lerp_(averaged, present, 1 - decay)


class Reporter:
    """Prints the averaged loss every half minute and saves the weights every `save_minutes`."""

    def __init__(self, save: Callable[[], None], *, save_minutes: float = 3.0) -> None:
        self._save = save
        self._save_seconds = 60 * save_minutes
        self._reported = self._saved = time.monotonic()
        self._sum, self._count = 0.0, 0

    def note(self, step: Step, loss: torch.Tensor) -> None:
        """Takes the loss of one step."""
        self._sum += float(loss.detach())
        self._count += 1
        now = time.monotonic()
        if now - self._reported > _REPORT_SECONDS:
            mean = self._sum / self._count
            say(f"step {step.number} ({100 * step.progress:.0f} %) loss {mean:.5f}")
            self._reported, self._sum, self._count = now, 0.0, 0
        if now - self._saved > self._save_seconds:
            self._save()
            self._saved = now


def say(line: str) -> None:
    """One line of a script's product: its progress and its quality figures."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
