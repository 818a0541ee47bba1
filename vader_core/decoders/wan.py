"""AutoencoderKLWan's decoder as a recurrence over latent frames.

Letters: B videos, n latent frames, N frames, C channels, H and W sizes.

Latent frame 0 becomes frame 0; latent frame i becomes frames (i - 1) s + 1 to i s, s being the
temporal scale. The state has one entry for every causal convolution: None before the first latent
frame, "Rep" where a temporal upsampling has seen exactly one, else the features of the last two frames.

Where a graph is built, residual blocks and resamplings keep their inputs alone. The library's own
checkpoints do not go with the feature cache, which a block changes as it runs: here each run of a block
starts from a copy of the cache as it was.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanResample,
    WanResidualBlock,
    unpatchify,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from vader_core.decoders import unit_range
from vader_core.decoders.recurrent import State
from vader_core.patching import replaced


class WanRecurrence:
    """One latent frame after the other."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self.dtype: torch.dtype = vae.dtype
        self._scale: int = vae.config.scale_factor_temporal
        self._mean, self._std = (
            torch.tensor(figures, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
            for figures in (vae.config.latents_mean, vae.config.latents_std)
        )

    def groups(self, latent_frames: int) -> list[range]:
        return [range(i, i + 1) for i in range(latent_frames)]

    def frames(self, group: range) -> range:
        first = (group.start - 1) * self._scale + 1 if group.start else 0
        return range(first, (group.stop - 1) * self._scale + 1)

    def pixels(self, latent_pixels: int) -> int:
        return latent_pixels * int(self._vae.config.scale_factor_spatial)

    def first_state(self) -> State:
        self._vae.clear_cache()
        return list(self._vae._feat_map)

    def run(self, latents_BCnHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        latents_BCnHW = latents_BCnHW.to(self.dtype) * self._std + self._mean
        is_first = state[0] is None
        state = list(state)  # the decoder writes into the list it is given
        features = self._vae.post_quant_conv(latents_BCnHW)
        with _checkpointed_blocks(self._vae.decoder):
            video_BCNHW = self._vae.decoder(
                features, feat_cache=state, feat_idx=[0], first_chunk=is_first
            )
        if self._vae.config.patch_size is not None:
            video_BCNHW = unpatchify(video_BCNHW, patch_size=self._vae.config.patch_size)
        return unit_range(video_BCNHW.transpose(1, 2).clamp(-1, 1)), state


@contextmanager
def _checkpointed_blocks(decoder: nn.Module) -> Iterator[None]:
    if not torch.is_grad_enabled():
        yield
        return
    with ExitStack() as stack:
        for block in decoder.modules():
            if isinstance(block, WanResidualBlock | WanResample):
                forward = functools.partial(_checkpointed, block.forward)
                stack.enter_context(replaced(block, "forward", forward))
        yield


def _checkpointed(
    forward: Callable[..., torch.Tensor],
    features: torch.Tensor,
    feat_cache: State,
    feat_idx: list[int],
) -> torch.Tensor:
    before, first = list(feat_cache), feat_idx[0]

    def run(features: torch.Tensor) -> tuple[torch.Tensor, list[Any], int]:
        cache, place = list(before), [first]
        out = forward(features, feat_cache=cache, feat_idx=place)
        return out, cache[first : place[0]], place[0]

    out, entries, last = checkpoint(run, features, use_reentrant=False)
    feat_cache[first:last] = entries
    feat_idx[0] = last
    result: torch.Tensor = out
    return result
