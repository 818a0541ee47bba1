"""The temporal half of Open-Sora 1.2's video autoencoder: four frames of spatial latents become one.

From hpcaitech/Open-Sora, tag v1.2.0, opensora/models/vae/vae_temporal.py, whose architecture is that
of MAGVIT-v2's autoencoder without spatial scaling. Parameters have the published names.

Convolutions look back in time alone, but group norms average over all frames of a window, so a window
of latent frames can only be decoded whole.

Letters: B videos, C channels, T frames or latent frames of a window, H and W sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class TemporalShape:
    """The sizes of encoder and decoder; the defaults are the published ones.

    There is one level per entry of `multipliers`; `halves[i]` says whether the encoder halves the
    number of frames after level i.
    """

    channels: int = 4
    width: int = 128
    blocks: int = 4
    multipliers: Sequence[int] = (1, 2, 2, 4)
    halves: Sequence[bool] = (False, True, True)
    groups: int = 32

    @property
    def widths(self) -> list[int]:
        """The number of channels of each level."""
        return [self.width * multiplier for multiplier in self.multipliers]

    @property
    def scale(self) -> int:
        """Frames per latent frame."""
        return int(2 ** sum(self.halves))


class CausalConv3d(nn.Module):
    """A convolution that sees the present and the past: zeros stand before the first frame."""

    def __init__(
        self, channels_in: int, channels_out: int, size: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        side = size // 2
        self._padding = (side, side, side, side, size - stride, 0)
        self.conv = nn.Conv3d(channels_in, channels_out, size, stride=(stride, 1, 1), bias=bias)

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(functional.pad(x_BCTHW, self._padding))
        return result


class ResidualBlock(nn.Module):
    """Two normed, activated convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in)
        self.conv1 = CausalConv3d(channels_in, channels_out, 3, bias=False)
        self.norm2 = nn.GroupNorm(groups, channels_out)
        self.conv2 = CausalConv3d(channels_out, channels_out, 3, bias=False)
        if channels_in != channels_out:
            self.conv3 = CausalConv3d(channels_in, channels_out, 1, bias=False)
        self._is_projected = channels_in != channels_out

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x_BCTHW)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        shortcut = self.conv3(x_BCTHW) if self._is_projected else x_BCTHW
        result: torch.Tensor = shortcut + hidden
        return result


def _blocks(channels_in: int, channels_out: int, shape: TemporalShape) -> nn.Sequential:
    sizes = [channels_in] + [channels_out] * (shape.blocks - 1)
    return nn.Sequential(*(ResidualBlock(size, channels_out, shape.groups) for size in sizes))


class TemporalEncoder(nn.Module):
    """From spatial latents to the mean and log variance of a window's latents."""

    def __init__(self, shape: TemporalShape) -> None:
        super().__init__()
        widths = shape.widths
        self.conv_in = CausalConv3d(shape.channels, shape.width, 3, bias=False)
        self.block_res_blocks = nn.ModuleList(
            _blocks(before, after, shape)
            for before, after in zip([shape.width, *widths], widths, strict=False)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(width, width, 3, stride=2) if halves else nn.Identity()
            for width, halves in zip(widths, shape.halves, strict=False)
        )
        self.res_blocks = _blocks(widths[-1], widths[-1], shape)
        self.norm1 = nn.GroupNorm(shape.groups, widths[-1])
        self.conv2 = CausalConv3d(widths[-1], 2 * shape.channels, 1)

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        x_BCTHW = self.conv_in(x_BCTHW)
        for level, blocks in enumerate(self.block_res_blocks):
            x_BCTHW = blocks(x_BCTHW)
            if level < len(self.conv_blocks):
                x_BCTHW = self.conv_blocks[level](x_BCTHW)
        x_BCTHW = self.res_blocks(x_BCTHW)
        moments: torch.Tensor = self.conv2(functional.silu(self.norm1(x_BCTHW)))
        return moments


class TemporalDecoder(nn.Module):
    """From a window's latents to spatial latents, `scale` frames for each."""

    def __init__(self, shape: TemporalShape) -> None:
        super().__init__()
        widths = shape.widths
        self._doubles = tuple(shape.halves)
        self.conv1 = CausalConv3d(shape.channels, widths[-1], 3)
        self.res_blocks = _blocks(widths[-1], widths[-1], shape)
        self.block_res_blocks = nn.ModuleList(
            _blocks(before, after, shape)
            for before, after in zip([*widths[1:], widths[-1]], widths, strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(width, 2 * width, 3) if doubles else nn.Identity()
            for width, doubles in zip(widths[1:], shape.halves, strict=True)
        )
        self.norm1 = nn.GroupNorm(shape.groups, widths[0])
        self.conv_out = CausalConv3d(widths[0], shape.channels, 3)

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        x_BCTHW = self.res_blocks(self.conv1(x_BCTHW))
        for level in reversed(range(len(self.block_res_blocks))):
            x_BCTHW = self.block_res_blocks[level](x_BCTHW)
            if level > 0 and self._doubles[level - 1]:
                pairs = self.conv_blocks[level - 1](x_BCTHW).unflatten(1, (-1, 2))
                x_BCTHW = pairs.transpose(2, 3).flatten(2, 3)
        result: torch.Tensor = self.conv_out(functional.silu(self.norm1(x_BCTHW)))
        return result


class TemporalAutoencoder(nn.Module):
    """Encoder and decoder of one window."""

    def __init__(self, shape: TemporalShape) -> None:
        super().__init__()
        self.scale = shape.scale
        self.encoder = TemporalEncoder(shape)
        self.quant_conv = CausalConv3d(2 * shape.channels, 2 * shape.channels, 1)
        self.post_quant_conv = CausalConv3d(shape.channels, shape.channels, 1)
        self.decoder = TemporalDecoder(shape)

    def latent_frames(self, frames: int) -> int:
        """How many latent frames stand for `frames` frames."""
        return -(-frames // self.scale)

    def moments(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """Mean and log variance (B, 2C, T, H, W); zeros before the first frame fill up its four."""
        missing = -x_BCTHW.shape[2] % self.scale
        padded = functional.pad(x_BCTHW, (0, 0, 0, 0, missing, 0))
        moments: torch.Tensor = self.quant_conv(self.encoder(padded))
        return moments

    def decode(self, latents_BCTHW: torch.Tensor, frames: int) -> torch.Tensor:
        """The `frames` frames of spatial latents that a window stands for."""
        decoded: torch.Tensor = self.decoder(self.post_quant_conv(latents_BCTHW))
        return decoded[:, :, -frames % self.scale :]
