"""Every random number of a run comes from (seed, step, purpose, index), never from a running stream.

So a run that is stopped and resumed, or split over more processes, draws what the run left alone draws.
"""

from __future__ import annotations

import functools
import hashlib

import torch


def number(seed: int, *, step: int, purpose: str, index: int) -> int:
    """A number in [0, 2**63) that depends on all four and on nothing else."""
    name = f"{seed}/{step}/{purpose}/{index}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *, step: int, purpose: str, index: int) -> torch.Generator:
    """A generator on the CPU, so that every device sees the same numbers."""
    drawn = torch.Generator(device="cpu")
    return drawn.manual_seed(number(seed, step=step, purpose=purpose, index=index))


def prompt_of_video(seed: int, *, video: int, prompts: int) -> int:
    """Which of `prompts` training prompts video number `video` of the run (from 0) is made for.

    Every epoch shows each prompt once, in an order of its own.
    """
    epoch, place = divmod(video, prompts)
    return _order(seed, epoch, prompts)[place]


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, prompts: int) -> list[int]:
    drawn = generator(seed, step=0, purpose="prompt order", index=epoch)
    order: list[int] = torch.randperm(prompts, generator=drawn).tolist()
    return order
