"""Autoencoders whose frames all depend on each other: everything at once, layers under checkpoints.

Letters: B videos, f latent frames, F chosen frames, N decoded frames, C channels, H and W sizes; 1 is
one video.

Such a decoder has no border at which its graph could be cut, so that videos are decoded one after the
other and within a video the layers' activations are dropped and computed again. What bounds memory:
- kept through the whole backward pass are the inputs of all `blocks` and `image_blocks`, for all frames
  that are decoded together, and everything that is computed outside them;
- besides, while a block is computed again, its own activations: of all those frames for `blocks`, of
  `chunk_frames` of them for `image_blocks`, which treat every frame as an image by itself.

So memory grows with the length and size of the video, whatever `chunk_frames` is. `clip` bounds it where
the pipeline decodes a video as clips that know nothing of each other; only the clips with chosen frames
are decoded then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vader_core.patching import replaced


class WholeDecoder:
    """`decode` makes frames (B, N, 3, H, W) in [0, 1] of latents (B, C, f, H, W), by the modules
    `blocks` and `image_blocks` among others.

    `clip` is the number of latent frames of a clip, None for whole videos. Where it is given, every
    latent frame has to become one frame.
    """

    def __init__(
        self,
        decode: Callable[[torch.Tensor], torch.Tensor],
        blocks: Sequence[nn.Module],
        image_blocks: Sequence[nn.Module] = (),
        clip: int | None = None,
    ) -> None:
        self._decode, self._clip = decode, clip
        self._blocks, self._image_blocks = blocks, image_blocks

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any] | None,
    ) -> torch.Tensor:
        del states  # everything is decoded again
        videos = []
        with self._bounded(chunk_frames):
            for video, indices_F in enumerate(frame_indices_BF):
                parts = [
                    self._decode(latents_BCfHW[video : video + 1, :, where])[0, inside]
                    for where, _, inside in self._clips(latents_BCfHW.shape[2], indices_F)
                ]
                videos.append(torch.cat(parts))
        return torch.stack(videos)

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        del states
        grad_BCfHW = torch.zeros_like(latents_BCfHW)
        with self._bounded(chunk_frames):
            for video, indices_F in enumerate(frame_indices_BF):
                for where, chosen, inside in self._clips(latents_BCfHW.shape[2], indices_F):
                    part = latents_BCfHW[video : video + 1, :, where].detach().requires_grad_()
                    frames = self._decode(part)[0, inside]
                    (grad,) = torch.autograd.grad(frames, part, grad_frames_BFCHW[video, chosen])
                    grad_BCfHW[video : video + 1, :, where] = grad
        return grad_BCfHW

    def _clips(
        self, latent_frames: int, indices_F: torch.Tensor
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Clips with chosen frames: their latents, which of the chosen frames, and where these are inside."""
        if self._clip is None:
            yield slice(0, latent_frames), torch.ones_like(indices_F, dtype=torch.bool), indices_F
            return
        for start in range(0, latent_frames, self._clip):
            stop = min(start + self._clip, latent_frames)
            chosen = (indices_F >= start) & (indices_F < stop)
            if chosen.any():
                yield slice(start, stop), chosen, indices_F[chosen] - start

    @contextmanager
    def _bounded(self, chunk_frames: int) -> Iterator[None]:
        with ExitStack() as stack:
            for block in self._blocks:
                forward = functools.partial(_checkpointed, block.forward)
                stack.enter_context(replaced(block, "forward", forward))
            for block in self._image_blocks:
                forward = functools.partial(_in_chunks, block.forward, chunk_frames)
                stack.enter_context(replaced(block, "forward", forward))
            yield


def _checkpointed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _in_chunks(
    forward: Callable[..., Any], size: int, images: torch.Tensor, *args: Any, **kwargs: Any
) -> torch.Tensor:
    parts = torch.split(images, size)
    return torch.cat([_checkpointed(forward, part, *args, **kwargs) for part in parts])
