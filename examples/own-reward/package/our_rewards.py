"""A reward in a Python package of a team's own: how warm the colours are."""

from __future__ import annotations


class Warmth:
    """Red minus blue, mean over the pixels; torch operations alone, so gradients pass."""

    def __init__(self, params: dict) -> None:
        del params

    def score(self, frames, prompts):
        del prompts
        return (frames[:, :, 0] - frames[:, :, 2]).flatten(1).mean(1)
