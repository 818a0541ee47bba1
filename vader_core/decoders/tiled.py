"""Autoencoders that decode tiles, spatial or temporal or both, and blend them where they overlap.

Letters: B videos, f latent frames, F chosen frames, C channels, H and W sizes; 1 is one video.

The autoencoder's own `decode` lays the tiles and blends them, with a stand-in for its decoder. A first
pass, on zeros, asks the blending by its own gradient which frames of which tile the chosen frames are
made of; the second blends these, decoded tile by tile without a graph. Backward, the blending hands
every tile its gradient, and one tile after the other is decoded again with a graph. Blending is linear,
so this is exact whatever the weights; bounded is the graph of one tile of one video, and a tile may
bound its own once more (`RecurrentTile`). Where the autoencoder lays no tiles, everything is one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from vader_core.decoders import unit_range
from vader_core.decoders.recurrent import Recurrence, RecurrentDecoder
from vader_core.patching import replaced

# From latents of a tile to its video (1, 3, F, H, W).
Decode = Callable[[torch.Tensor], torch.Tensor]


class Tile(Protocol):
    """How one tile is decoded: from latents (1, C, f, H, W) to frames (F, 3, H, W) as the decoder gives them."""

    def size(self, latents_1CfHW: torch.Tensor) -> tuple[int, int, int]:
        """Frames, height and width of a tile."""
        ...

    def frames(
        self, latents_1CfHW: torch.Tensor, frame_indices_F: torch.Tensor, chunk_frames: int
    ) -> torch.Tensor:
        """The chosen frames; without a graph."""
        ...

    def pull_back(
        self,
        latents_1CfHW: torch.Tensor,
        frame_indices_F: torch.Tensor,
        chunk_frames: int,
        grad_FCHW: torch.Tensor,
    ) -> torch.Tensor:
        """The gradient at the latents of a gradient at the chosen frames."""
        ...

    @contextmanager
    def stand_in(self, decode: Decode) -> Iterator[None]:
        """Inside the `with` block the autoencoder decodes every tile by one call of `decode`."""
        ...


@dataclass(frozen=True)
class _Layout:
    """One video's blending, laid out on zeros: every tile's latents, its zeros, and the blended video."""

    latents: list[torch.Tensor]
    zeros: list[torch.Tensor]
    video_1CFHW: torch.Tensor

    def shares(
        self, frame_indices_F: torch.Tensor, grad_FCHW: torch.Tensor
    ) -> list[torch.Tensor | None]:
        """Every tile's gradient (1, 3, F, H, W) of a gradient at the chosen frames."""
        chosen_FCHW = self.video_1CFHW[0].transpose(0, 1)[frame_indices_F]
        return list(
            torch.autograd.grad(
                chosen_FCHW, self.zeros, grad_FCHW, allow_unused=True, retain_graph=True
            )
        )


class TiledDecoder:
    """Decodes by a `Tile`. `unscaled` undoes the normalisation of the latents.

    `dropped` is the number of frames at the beginning that the pipeline throws away.
    """

    def __init__(
        self,
        vae: Any,
        tile: Tile,
        unscaled: Callable[[torch.Tensor], torch.Tensor],
        *,
        dropped: int = 0,
    ) -> None:
        self._vae, self._tile, self._unscaled = vae, tile, unscaled
        self._dropped = dropped

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any] | None,
    ) -> torch.Tensor:
        """Leaves in `states`, for every video, which frames of every tile count and which values are clamped."""
        videos = []
        for latents_CfHW, frame_indices_F in zip(latents_BCfHW, frame_indices_BF, strict=True):
            needed = self._needed(latents_CfHW[None], frame_indices_F)
            video_1CFHW = self._blended(latents_CfHW[None], self._decoding(needed, chunk_frames))
            raw_FCHW = video_1CFHW[0].transpose(0, 1)[frame_indices_F]
            videos.append(unit_range(raw_FCHW))
            if states is not None:
                states.append((needed, raw_FCHW.abs() <= 1))
        return torch.stack(videos)

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        grads: list[torch.Tensor] = []
        videos = zip(latents_BCfHW, frame_indices_BF, grad_frames_BFCHW, states, strict=True)
        for latents_CfHW, frame_indices_F, grad_FCHW, (needed, inside_FCHW) in videos:
            leaf = latents_CfHW[None].detach().requires_grad_()
            layout = self._laid_out(leaf)
            # Half: the frames' unit range is half as wide as the decoder's.
            shares = layout.shares(frame_indices_F, grad_FCHW * inside_FCHW / 2)
            outputs, grads_at_tiles = [], []
            for tile, share, frames_F in zip(layout.latents, shares, needed, strict=True):
                if share is not None and len(frames_F):
                    share_FCHW = share[0].transpose(0, 1)[frames_F]
                    outputs.append(tile)
                    grads_at_tiles.append(
                        self._tile.pull_back(tile.detach(), frames_F, chunk_frames, share_FCHW)
                    )
            grads += torch.autograd.grad(outputs, [leaf], grads_at_tiles)
        return torch.cat(grads)

    def _needed(
        self, latents_1CfHW: torch.Tensor, frame_indices_F: torch.Tensor
    ) -> list[torch.Tensor]:
        """For every tile, its frames that the chosen ones are made of."""
        # Blending weights are not negative: what a frame is made of has a positive derivative.
        with torch.enable_grad():
            layout = self._laid_out(latents_1CfHW.detach())
            ones_FCHW = torch.ones_like(layout.video_1CFHW[0].transpose(0, 1)[frame_indices_F])
            shares = layout.shares(frame_indices_F, ones_FCHW)
        return [
            torch.zeros(0, dtype=torch.long, device=latents_1CfHW.device)
            if share is None
            else share.amax(dim=(0, 1, 3, 4)).nonzero()[:, 0]
            for share in shares
        ]

    def _laid_out(self, latents_1CfHW: torch.Tensor) -> _Layout:
        tiles: list[torch.Tensor] = []
        zeros: list[torch.Tensor] = []

        def decode(tile_1CfHW: torch.Tensor) -> torch.Tensor:
            shape = (1, 3, *self._tile.size(tile_1CfHW))
            tiles.append(tile_1CfHW)
            zeros.append(tile_1CfHW.new_zeros(shape).requires_grad_())
            return zeros[-1].clone()  # it is blended in place

        video_1CFHW = self._blended(latents_1CfHW, decode)
        return _Layout(tiles, zeros, video_1CFHW)

    def _decoding(self, needed: list[torch.Tensor], chunk_frames: int) -> Decode:
        remaining = iter(needed)

        def decode(tile_1CfHW: torch.Tensor) -> torch.Tensor:
            frames_F = next(remaining)
            video_1CFHW = tile_1CfHW.new_zeros((1, 3, *self._tile.size(tile_1CfHW)))
            if len(frames_F):
                frames_FCHW = self._tile.frames(tile_1CfHW, frames_F, chunk_frames)
                video_1CFHW[0, :, frames_F] = frames_FCHW.transpose(0, 1)
            return video_1CFHW

        return decode

    def _blended(self, latents_1CfHW: torch.Tensor, decode: Decode) -> torch.Tensor:
        """The autoencoder's video (1, 3, F, H, W) of tiles that `decode` decodes."""
        unscaled = self._unscaled(latents_1CfHW.to(self._vae.dtype))
        with self._tile.stand_in(decode):
            video: torch.Tensor = self._vae.decode(unscaled, return_dict=False)[0]
        return video[:, :, self._dropped :]


class WholeTile:
    """A tile that is decoded in one piece: every frame of it depends on all of its latents.

    For decoders that take latents alone; `frames_of` says how many frames so many latent frames become.
    """

    def __init__(self, vae: Any, frames_of: Callable[[int], int]) -> None:
        self._vae, self._frames_of = vae, frames_of
        self._scale = int(vae.spatial_compression_ratio)

    def size(self, latents_1CfHW: torch.Tensor) -> tuple[int, int, int]:
        frames, height, width = latents_1CfHW.shape[2:]
        return self._frames_of(frames), height * self._scale, width * self._scale

    def frames(
        self, latents_1CfHW: torch.Tensor, frame_indices_F: torch.Tensor, chunk_frames: int
    ) -> torch.Tensor:
        del chunk_frames
        video_1CFHW: torch.Tensor = type(self._vae.decoder).forward(
            self._vae.decoder, latents_1CfHW
        )
        return video_1CFHW[0].transpose(0, 1)[frame_indices_F]

    def pull_back(
        self,
        latents_1CfHW: torch.Tensor,
        frame_indices_F: torch.Tensor,
        chunk_frames: int,
        grad_FCHW: torch.Tensor,
    ) -> torch.Tensor:
        leaf = latents_1CfHW.requires_grad_()
        frames_FCHW = self.frames(leaf, frame_indices_F, chunk_frames)
        return torch.autograd.grad(frames_FCHW, leaf, grad_FCHW)[0]

    @contextmanager
    def stand_in(self, decode: Decode) -> Iterator[None]:
        with replaced(self._vae.decoder, "forward", decode):
            yield


class RecurrentTile:
    """A tile that is decoded by a recurrence, whose windows bound the graph within the tile.

    The recurrence's frames are those of the decoder, not yet in [0, 1].
    """

    def __init__(self, vae: Any, recurrence: Recurrence) -> None:
        self._vae, self._recurrence = vae, recurrence
        self._decoder = RecurrentDecoder(recurrence)

    def size(self, latents_1CfHW: torch.Tensor) -> tuple[int, int, int]:
        last = self._recurrence.groups(latents_1CfHW.shape[2])[-1]
        height, width = (self._recurrence.pixels(n) for n in latents_1CfHW.shape[-2:])
        return self._recurrence.frames(last).stop, height, width

    def frames(
        self, latents_1CfHW: torch.Tensor, frame_indices_F: torch.Tensor, chunk_frames: int
    ) -> torch.Tensor:
        indices_1F = frame_indices_F[None]
        return self._decoder.forward(latents_1CfHW, indices_1F, chunk_frames, None)[0]

    def pull_back(
        self,
        latents_1CfHW: torch.Tensor,
        frame_indices_F: torch.Tensor,
        chunk_frames: int,
        grad_FCHW: torch.Tensor,
    ) -> torch.Tensor:
        # The states at the windows' borders are made again: kept, those of all tiles together would
        # outweigh the graph of one.
        indices_1F, states = frame_indices_F[None], list[Any]()
        with torch.no_grad():
            self._decoder.forward(latents_1CfHW, indices_1F, chunk_frames, states)
        return self._decoder.backward(
            latents_1CfHW, indices_1F, chunk_frames, states, grad_FCHW[None]
        )

    @contextmanager
    def stand_in(self, decode: Decode) -> Iterator[None]:
        with replaced(self._vae.decoder, "forward", decode):
            yield


def checkpoint_layers(autoencoder: nn.Module) -> None:
    """Has the decoder's layers keep their inputs only, wherever a graph is built.

    Its blocks do it layer by layer. Blocks within a checkpoint of their own, as the library's switch
    for the whole decoder has them, would be computed three times.
    """
    model: Any = autoencoder
    model.enable_gradient_checkpointing()
    model.decoder.gradient_checkpointing = False
