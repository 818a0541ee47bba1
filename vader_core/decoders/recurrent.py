"""Causal 3D autoencoders as a recurrence over groups of latent frames, with an exact windowed backward.

Letters: B videos, f and n latent frames, F chosen frames, N decoded frames, C channels, H and W sizes.

Windows of whole groups, about `chunk_frames` frames counted over all videos and at least one group of
each, are decoded again from the states at their borders, last window first. The gradient at a border's
state carries what later frames owe to earlier latents, so nothing is truncated (ChopGrad,
arXiv 2603.17812, cuts it off there). Bounded is the graph of one window.

A state is large where frames are (gigabytes for a video of 832x480), so that few are kept: as many as
fit in `KEPT_BYTES`, evenly spread. Those between are made again by bisection: a stretch of n windows
costs at most log2(n) further states at a time, and n/2 log2(n) windows decoded once more without a
graph. Latents after the last chosen frame are not decoded at all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

# What one kind of autoencoder carries on: tensors and other values in lists, tuples and dicts.
State = Any


class Recurrence(Protocol):
    """A decoder that goes through a video once, from its first latent frame to its last.

    It reads, in order, the groups of latent frames that its autoencoder decodes together.
    """

    def groups(self, latent_frames: int) -> list[range]:
        """The latent frames of each group, all of a video of `latent_frames`."""
        ...

    def frames(self, group: range) -> range:
        """The frames that a group's latent frames become."""
        ...

    def pixels(self, latent_pixels: int) -> int:
        """How many pixels that many latent pixels become, along height or width."""
        ...

    def first_state(self) -> State:
        """What comes before the first group."""
        ...

    def run(self, latents_BCnHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Frames (B, N, 3, H, W) in [0, 1] of one group that follows `state`, and the state after it.

        `state` itself stays as it is.
        """
        ...

    dtype: torch.dtype


# States that are small enough to be kept are not made again.
KEPT_BYTES = 2**30


@dataclass
class _WayBack:
    """One backward pass: what it starts from, and what it has found so far."""

    latents_BCfHW: torch.Tensor
    frame_indices_BF: torch.Tensor
    grad_frames_BFCHW: torch.Tensor
    grad_BCfHW: torch.Tensor
    # The gradient at the state after the window in hand, by the places of its tensors.
    grad_state: dict[int, torch.Tensor]


class RecurrentDecoder:
    """Decodes by a `Recurrence`."""

    def __init__(self, recurrence: Recurrence) -> None:
        self._recurrence = recurrence

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any] | None,
    ) -> torch.Tensor:
        """Leaves in `states` pairs of a window's number and the state before it."""
        height, width = (self._recurrence.pixels(n) for n in latents_BCfHW.shape[-2:])
        frames_BFCHW = torch.zeros(
            (*frame_indices_BF.shape, 3, height, width),
            device=latents_BCfHW.device,
            dtype=self._recurrence.dtype,
        )
        state, every = self._recurrence.first_state(), 1
        windows = self._windows(latents_BCfHW.shape[2], frame_indices_BF, chunk_frames)
        for number, window in enumerate(windows):
            if states is not None and number % every == 0:
                states.append((number, state))
                while len(states) > 1 and _size([kept for _, kept in states]) > KEPT_BYTES:
                    every *= 2
                    states[:] = [kept for kept in states if kept[0] % every == 0]
            for group in window:
                block_BNCHW, state = self._recurrence.run(_of(latents_BCfHW, group), state)
                chosen_BF, where = self._inside([group], frame_indices_BF)
                frames_BFCHW[chosen_BF] = block_BNCHW[where]
        return frames_BFCHW

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        """Uses `states` up, so that each is freed as soon as it has served; without any it begins anew."""
        if not states:
            states.append((0, self._recurrence.first_state()))
        way = _WayBack(
            latents_BCfHW,
            frame_indices_BF,
            grad_frames_BFCHW,
            grad_BCfHW=torch.zeros_like(latents_BCfHW),
            grad_state={},
        )
        windows = self._windows(latents_BCfHW.shape[2], frame_indices_BF, chunk_frames)
        stop = len(windows)
        while states:
            number, start = states.pop()
            self._through(windows[number:stop], start, way)
            stop = number
        return way.grad_BCfHW

    def _through(self, windows: list[list[range]], start: State, way: _WayBack) -> None:
        """Goes back through `windows`, which follow the state `start`."""
        if len(windows) == 1:
            self._through_one(windows[0], start, way)
            return
        half, middle = len(windows) // 2, start
        with torch.no_grad():
            for group in itertools.chain.from_iterable(windows[:half]):
                _, middle = self._recurrence.run(_of(way.latents_BCfHW, group), middle)
        self._through(windows[half:], middle, way)
        del middle
        self._through(windows[:half], start, way)

    def _through_one(self, window: list[range], start: State, way: _WayBack) -> None:
        whole = range(window[0].start, window[-1].stop)
        latents = _of(way.latents_BCfHW, whole).detach().requires_grad_()
        start, held = _leaves(start)
        blocks, end = [], start
        for group in window:
            inside = range(group.start - whole.start, group.stop - whole.start)
            block_BNCHW, end = self._recurrence.run(_of(latents, inside), end)
            blocks.append(block_BNCHW)
        chosen_BF, where = self._inside(window, way.frame_indices_BF)
        outputs = [(torch.cat(blocks, 1)[where], way.grad_frames_BFCHW[chosen_BF])]
        entries, _ = tree_flatten(end)
        outputs += [(entries[place], grad) for place, grad in way.grad_state.items()]
        grad_latents, way.grad_state = _gradients(outputs, latents, held)
        way.grad_BCfHW[:, :, whole.start : whole.stop] = grad_latents

    def _windows(
        self, latent_frames: int, frame_indices_BF: torch.Tensor, chunk_frames: int
    ) -> list[list[range]]:
        """Runs of groups, up to the one that the last chosen frame comes from."""
        last, videos = int(frame_indices_BF.max()), len(frame_indices_BF)
        windows: list[list[range]] = []
        room = 0
        for group in self._recurrence.groups(latent_frames):
            frames = self._recurrence.frames(group)
            if frames.start > last:
                break
            size = len(frames) * videos
            if size > room or not windows:
                windows.append([])
                room = chunk_frames
            windows[-1].append(group)
            room -= size
        return windows

    def _inside(
        self, window: list[range], frame_indices_BF: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Which chosen frames come from `window`: as a mask, and as video and frame of the window."""
        first = self._recurrence.frames(window[0]).start
        stop = self._recurrence.frames(window[-1]).stop
        chosen_BF = (frame_indices_BF >= first) & (frame_indices_BF < stop)
        return chosen_BF, (chosen_BF.nonzero()[:, 0], frame_indices_BF[chosen_BF] - first)


def _size(states: list[State]) -> int:
    """The bytes of all tensors of `states`."""
    entries, _ = tree_flatten(states)
    return sum(entry.nbytes for entry in entries if isinstance(entry, torch.Tensor))


def _of(latents_BCfHW: torch.Tensor, group: range) -> torch.Tensor:
    return latents_BCfHW[:, :, group.start : group.stop]


def _leaves(state: State) -> tuple[State, dict[int, torch.Tensor]]:
    """`state` with its tensors as leaves, and these by their place."""
    entries, shape = tree_flatten(state)
    held = {
        place: entry.detach().requires_grad_()
        for place, entry in enumerate(entries)
        if isinstance(entry, torch.Tensor)
    }
    return tree_unflatten([held.get(i, entry) for i, entry in enumerate(entries)], shape), held


def _gradients(
    outputs: list[tuple[torch.Tensor, torch.Tensor]],
    latents: torch.Tensor,
    held: dict[int, torch.Tensor],
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """The gradients at `latents` and at the state's tensors, of those at `outputs`."""
    tensors, grads = zip(*outputs, strict=True)
    grad_latents, *grad_held = torch.autograd.grad(
        tensors, [latents, *held.values()], grads, allow_unused=True
    )
    found = zip(held, grad_held, strict=True)
    return grad_latents, {place: grad for place, grad in found if grad is not None}
