"""AutoencoderKLMochi's decoder as a recurrence over latent frames.

Letters: B videos, n latent frames, N frames, C channels, H and W sizes.

The pipeline decodes all latent frames at once, with borders that repeat the outermost values in space
as in time. Norms are taken frame by frame and convolutions look back only, so that a latent frame needs
of those before it no more than the last two inputs of every convolution: the state. The library carries
them on only for another kind of border (zeros), which gives other frames; `CarryingConv` does it for
this one. Every latent frame becomes a full set of frames here: that all but one of the first are
dropped is the autoencoder's own last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXCausalConv3d
from torch.nn import functional

from vader_core.decoders.recurrent import State
from vader_core.decoders.tiled import Decode, RecurrentTile, TiledDecoder
from vader_core.patching import replaced


class CarryingConv(CogVideoXCausalConv3d):  # type: ignore[misc]
    """A causal convolution with repeated borders that goes on where an earlier call has stopped."""

    def forward(
        self, inputs: torch.Tensor, conv_cache: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sides = (self.width_pad, self.width_pad, self.height_pad, self.height_pad, 0, 0)
        padded = functional.pad(inputs, sides, mode="replicate")
        if conv_cache is None:
            conv_cache = padded[:, :, :1].repeat(1, 1, self.time_pad, 1, 1)
        whole = torch.cat([conv_cache, padded], dim=2)
        return self.conv(whole), whole[:, :, whole.shape[2] - self.time_pad :].clone()


def carry_on(vae: Any) -> None:
    """Makes the decoder's convolutions carrying ones; what the autoencoder decodes does not change."""
    for module in vae.decoder.modules():
        if type(module) is CogVideoXCausalConv3d and module.pad_mode == "replicate":
            module.__class__ = CarryingConv


def mochi_decoder(vae: Any) -> TiledDecoder:
    """For AutoencoderKLMochi after `carry_on`."""
    config = vae.config
    scale = float(config.scaling_factor)
    if config.latents_mean is None or config.latents_std is None:
        return TiledDecoder(vae, _WholeLength(vae), lambda latents: latents / scale)
    mean, std = (
        torch.tensor(figures, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
        for figures in (config.latents_mean, config.latents_std)
    )
    return TiledDecoder(vae, _WholeLength(vae), lambda latents: latents * std / scale + mean)


class MochiRecurrence:
    """One latent frame after the other; frames as the decoder gives them, around [-1, 1]."""

    def __init__(self, vae: Any) -> None:
        self._vae, self.dtype = vae, vae.dtype
        self._time = int(vae.temporal_compression_ratio)
        self._space = int(vae.spatial_compression_ratio)

    def groups(self, latent_frames: int) -> list[range]:
        return [range(i, i + 1) for i in range(latent_frames)]

    def frames(self, group: range) -> range:
        return range(group.start * self._time, group.stop * self._time)

    def pixels(self, latent_pixels: int) -> int:
        return latent_pixels * self._space

    def first_state(self) -> State:
        return None

    def run(self, latents_BCnHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        decoder = self._vae.decoder
        forward = type(decoder).forward
        video_BCNHW, state = forward(decoder, latents_BCnHW.to(self.dtype), conv_cache=state)
        return video_BCNHW.transpose(1, 2), state


class _WholeLength(RecurrentTile):
    """Spatial tiles, each over the whole length of a video."""

    def __init__(self, vae: Any) -> None:
        super().__init__(vae, MochiRecurrence(vae))

    @contextmanager
    def stand_in(self, decode: Decode) -> Iterator[None]:
        def whole(tile: torch.Tensor) -> tuple[torch.Tensor, None]:
            return decode(tile), None

        with replaced(self._vae.decoder, "forward", whole):
            yield
