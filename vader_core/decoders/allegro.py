"""Allegro's autoencoder: tiles of fixed size in space and time, the only way in which it decodes.

Facts: diffusers' models/autoencoders/autoencoder_kl_allegro.py; arXiv 2410.15458.

A tile is 24 frames of 320x320 pixels, every 16 frames, 200 rows and 240 columns; overlaps are blended
linearly. What the last whole tile does not reach stays black, which is why only some sizes are legal.
Within a tile every frame depends on every latent frame, through temporal convolutions and groups of
channels that are normalised together; beyond a tile nothing does. So the frames of one tile are the
smallest graph, whatever the video's length; within it the layers are checkpointed.

Letters: B videos, C channels, f latent frames, F frames, H and W sizes; 1 is one video.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vader_core.decoders.tiled import Decode, TiledDecoder, WholeTile
from vader_core.patching import replaced

# Besides the four `nn.Sequential` of every temporal layer, each a normalised convolution.
_LAYERS = ("ResnetBlock2D", "Attention", "Upsample2D")


class AllegroDecoder(TiledDecoder):
    """The autoencoder gives (B, F, C, H, W), and takes one video at a time."""

    def __init__(self, vae: Any) -> None:
        vae.enable_tiling()
        super().__init__(vae, _Tile(vae), lambda latents: latents / vae.config.scaling_factor)

    def _blended(self, latents_1CfHW: torch.Tensor, decode: Decode) -> torch.Tensor:
        return super()._blended(latents_1CfHW, decode).transpose(1, 2)


class _Tile(WholeTile):
    """Decoded in one piece, its layers checkpointed: full-size activations are more than a gigabyte each."""

    def __init__(self, vae: Any) -> None:
        super().__init__(vae, lambda latents: latents * int(vae.config.temporal_compression_ratio))
        self._layers = [
            module
            for module in vae.decoder.modules()
            if isinstance(module, nn.Sequential) or type(module).__name__ in _LAYERS
        ]

    def pull_back(
        self,
        latents_1CfHW: torch.Tensor,
        frame_indices_F: torch.Tensor,
        chunk_frames: int,
        grad_FCHW: torch.Tensor,
    ) -> torch.Tensor:
        with ExitStack() as stack:
            for layer in self._layers:
                forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
                stack.enter_context(replaced(layer, "forward", forward))
            return super().pull_back(latents_1CfHW, frame_indices_F, chunk_frames, grad_FCHW)
