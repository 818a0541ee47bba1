"""AutoencoderKLCogVideoX's decoder as a recurrence over groups of latent frames.

Letters: B videos, n latent frames, N frames, C channels, H and W sizes.

The autoencoder decodes two latent frames at a time, and three the first time where their number is odd;
its norms take statistics over a group, so that nothing smaller can be decoded by itself. The state is
what the decoder's causal convolutions carry on. A group with an odd number of latent frames is the
first: of its first latent frame comes one frame, of every other as many as the temporal scale says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from vader_core.decoders.recurrent import State
from vader_core.decoders.tiled import Decode, RecurrentTile, TiledDecoder
from vader_core.patching import replaced

# Convolutions over one frame, which hand on all that they saw and never read it.
_UNREAD = ("conv_y", "conv_b")


def cogvideox_decoder(vae: Any) -> TiledDecoder:
    """For AutoencoderKLCogVideoX."""
    scale = float(vae.config.scaling_factor)
    return TiledDecoder(vae, _WholeLength(vae), lambda latents: latents / scale)


class CogVideoXRecurrence:
    """One group after the other; frames as the decoder gives them, around [-1, 1]."""

    def __init__(self, vae: Any) -> None:
        self._vae, self.dtype = vae, vae.dtype
        self._time = int(vae.config.temporal_compression_ratio)
        self._group = int(vae.num_latent_frames_batch_size)

    def groups(self, latent_frames: int) -> list[range]:
        starts = range(latent_frames % self._group + self._group, latent_frames, self._group)
        borders = [0, *starts, latent_frames]
        return [range(start, stop) for start, stop in itertools.pairwise(borders)]

    def frames(self, group: range) -> range:
        return range(self._before(group.start), self._before(group.stop))

    def _before(self, latent_frames: int) -> int:
        is_odd = latent_frames % 2 == 1
        return (latent_frames - 1) * self._time + 1 if is_odd else latent_frames * self._time

    def pixels(self, latent_pixels: int) -> int:
        return latent_pixels * int(2 ** (len(self._vae.config.block_out_channels) - 1))

    def first_state(self) -> State:
        return None

    def run(self, latents_BCnHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        decoder = self._vae.decoder
        forward = type(decoder).forward
        video_BCNHW, cache = forward(decoder, latents_BCnHW.to(self.dtype), conv_cache=state)
        return video_BCNHW.transpose(1, 2), _read(cache)


def _read(cache: Any) -> Any:
    """A decoder's cache without what is never read of it."""
    if not isinstance(cache, Mapping):
        return cache
    return {name: None if name in _UNREAD else _read(entry) for name, entry in cache.items()}


class _WholeLength(RecurrentTile):
    """Spatial tiles, each over the whole length of a video."""

    def __init__(self, vae: Any) -> None:
        super().__init__(vae, CogVideoXRecurrence(vae))

    @contextmanager
    def stand_in(self, decode: Decode) -> Iterator[None]:
        def whole(tile: torch.Tensor, conv_cache: None = None) -> tuple[torch.Tensor, None]:
            return decode(tile), conv_cache

        # The autoencoder goes through a video in one group where groups are as long as any video.
        with (
            replaced(self._vae, "num_latent_frames_batch_size", 2**31),
            replaced(self._vae.decoder, "forward", whole),
        ):
            yield
