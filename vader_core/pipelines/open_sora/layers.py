"""The building blocks of Open-Sora 1.2's denoiser: embeddings, attention and the STDiT3 block.

From hpcaitech/Open-Sora, tag v1.2.0, opensora/models/layers/blocks.py and models/stdit/stdit3.py.
Parameters have the published names, so a published checkpoint loads as it is.

Letters: B videos, T latent frames, S patches of a frame, N rows of attention, L tokens, C width,
D width of a head, P patch positions along one side, K text tokens.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

# Both sinusoidal tables of the model use this longest period.
_MAX_PERIOD = 10_000.0


class Mlp(nn.Module):
    """Two linear layers with a tanh-approximated GELU between them."""

    def __init__(self, width_in: int, width_hidden: int, width_out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width_in, width_hidden)
        self.fc2 = nn.Linear(width_hidden, width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(self.fc1(x), approximate="tanh")
        result: torch.Tensor = self.fc2(hidden)
        return result


class ScalarEmbedder(nn.Module):
    """A number (a timestep, frames per second) as a vector: cosines and sines of it, then an MLP."""

    def __init__(self, width: int, frequencies: int = 128) -> None:
        super().__init__()
        self._frequencies = frequencies
        self.mlp = nn.Sequential(
            nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, values_B: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        exponents = torch.arange(self._frequencies, device=values_B.device) / self._frequencies
        angles = values_B.float()[:, None] * torch.exp(-math.log(_MAX_PERIOD) * exponents)
        embedded: torch.Tensor = self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype))
        return embedded


class CaptionEmbedder(nn.Module):
    """Text features at the denoiser's width, and the features that stand for no text at all."""

    y_embedding: torch.Tensor

    def __init__(self, width_in: int, width: int, tokens: int) -> None:
        super().__init__()
        self.y_proj = Mlp(width_in, width, width)
        self.register_buffer("y_embedding", torch.randn(tokens, width_in) / width_in**0.5)

    def forward(self, text_BKC: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.y_proj(text_BKC)
        return projected


class PatchEmbedder(nn.Module):
    """Latents as patches of `patch_size` (frames, rows, columns), zeros filling up the last ones."""

    def __init__(self, patch_size: tuple[int, int, int], channels: int, width: int) -> None:
        super().__init__()
        self._patch_size = patch_size
        self.proj = nn.Conv3d(channels, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, latents_BCfHW: torch.Tensor) -> torch.Tensor:
        sizes = zip(latents_BCfHW.shape[2:], self._patch_size, strict=True)
        frames, rows, columns = (-size % patch for size, patch in sizes)
        padded = functional.pad(latents_BCfHW, (0, columns, 0, rows, 0, frames))
        patches: torch.Tensor = self.proj(padded)
        return patches


def patch_positions(
    rows: int, columns: int, *, width: int, scale: float, like: torch.Tensor
) -> torch.Tensor:
    """The position vectors (rows * columns, width) of a frame's patches, in the type of `like`.

    Positions are stretched so that a frame of any shape spans the side of the square of equal area,
    divided by `scale`. The first half of a vector belongs to the column, the second to the row.
    Frequencies are rounded to the type of `like`: so they are where the published model runs in bf16.
    """
    side = round(math.sqrt(rows * columns))
    exponents = torch.arange(0, width // 2, 2, device=like.device) / (width // 2)
    frequencies = (_MAX_PERIOD**-exponents).to(like.dtype)
    column_PC, row_PC = (
        _sines(torch.arange(count, device=like.device) / scale * (side / count), frequencies)
        for count in (columns, rows)
    )
    grid = torch.cat(
        [column_PC[None].expand(rows, -1, -1), row_PC[:, None].expand(-1, columns, -1)], dim=-1
    )
    return grid.flatten(0, 1).to(like.dtype)


def _sines(positions_P: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    angles = positions_P[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class RotaryFrames(nn.Module):
    """Rotations of neighbouring channels by angles that grow with the latent frame's number."""

    freqs: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # The published checkpoint holds these constants, so they are part of the state.
        self.register_buffer("freqs", _MAX_PERIOD ** -(torch.arange(0, width, 2) / width))

    def forward(self, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (frames, width), every one twice."""
        numbers = torch.arange(frames, device=self.freqs.device, dtype=self.freqs.dtype)
        angles = torch.outer(numbers, self.freqs).repeat_interleave(2, dim=-1)
        return angles.cos(), angles.sin()


def rotated(x_NHLD: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`x_NHLD` with channels 2i and 2i + 1 turned as one plane."""
    cos_LD, sin_LD = rotation
    even, odd = torch.unflatten(x_NHLD, -1, (-1, 2)).unbind(-1)
    return x_NHLD * cos_LD + torch.stack((-odd, even), dim=-1).flatten(-2) * sin_LD


class SelfAttention(nn.Module):
    """Attention within a frame, or along the frames at one place where a rotation is given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.k_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x_NLC: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor] | None
    ) -> torch.Tensor:
        query, key, value = self.qkv(x_NLC).unflatten(-1, (3, self._heads, -1)).unbind(2)
        value_NHLD = value.transpose(1, 2)
        query_NHLD = self.q_norm(query).transpose(1, 2)
        key_NHLD = self.k_norm(key).transpose(1, 2)
        if rotation is not None:
            query_NHLD, key_NHLD = rotated(query_NHLD, rotation), rotated(key_NHLD, rotation)
        # Autocast leaves norms in float32 while the values have its own type.
        mixed_NHLD = functional.scaled_dot_product_attention(
            query_NHLD.to(value.dtype), key_NHLD.to(value.dtype), value_NHLD
        )
        result: torch.Tensor = self.proj(mixed_NHLD.transpose(1, 2).flatten(2))
        return result


class CrossAttention(nn.Module):
    """Attention of every patch to the text tokens that the mask keeps."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x_BLC: torch.Tensor, text_BKC: torch.Tensor, mask_B11K: torch.Tensor | None
    ) -> torch.Tensor:
        query_BLHD = self.q_linear(x_BLC).unflatten(-1, (self._heads, -1))
        key_BKHD, value_BKHD = (
            self.kv_linear(text_BKC).unflatten(-1, (2, self._heads, -1)).unbind(2)
        )
        mixed_BHLD = functional.scaled_dot_product_attention(
            query_BLHD.transpose(1, 2),
            key_BKHD.transpose(1, 2),
            value_BKHD.transpose(1, 2),
            attn_mask=mask_B11K,
        )
        result: torch.Tensor = self.proj(mixed_BHLD.transpose(1, 2).flatten(2))
        return result


class STDiT3Block(nn.Module):
    """Self-attention in space or along time, cross-attention to the text, MLP; modulated by time.

    The modulation is PixArt's: six vectors, computed once for all blocks from the timestep, to which
    every block adds a table of its own.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, *, temporal: bool) -> None:
        super().__init__()
        self._temporal = temporal
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = Mlp(width, int(width * mlp_ratio), width)
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)

    def forward(
        self,
        x_BTSC: torch.Tensor,
        text_BKC: torch.Tensor,
        modulation_B6C: torch.Tensor,
        mask_B11K: torch.Tensor | None,
        rotation: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        table_B6C = self.scale_shift_table + modulation_B6C
        vectors = [vector_BC[:, None, None] for vector_BC in table_B6C.unbind(1)]
        shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp = vectors
        attended = self._attend(self.norm1(x_BTSC) * (1 + scale_attn) + shift_attn, rotation)
        x_BTSC = x_BTSC + gate_attn * attended
        crossed_BLC = self.cross_attn(x_BTSC.flatten(1, 2), text_BKC, mask_B11K)
        x_BTSC = x_BTSC + crossed_BLC.view_as(x_BTSC)
        made_BTSC: torch.Tensor = self.mlp(self.norm2(x_BTSC) * (1 + scale_mlp) + shift_mlp)
        return x_BTSC + gate_mlp * made_BTSC

    def _attend(
        self, x_BTSC: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        batch = len(x_BTSC)
        if self._temporal:
            x_BSTC = self.attn(x_BTSC.transpose(1, 2).flatten(0, 1), rotation)
            return torch.unflatten(x_BSTC, 0, (batch, -1)).transpose(1, 2)
        return torch.unflatten(self.attn(x_BTSC.flatten(0, 1), None), 0, (batch, -1))


class FinalLayer(nn.Module):
    """From patches to what is predicted for each, modulated by time once more."""

    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, width_out)
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)

    def forward(self, x_BTSC: torch.Tensor, time_BC: torch.Tensor) -> torch.Tensor:
        shift, scale = (self.scale_shift_table + time_BC[:, None])[:, :, None, None].unbind(1)
        predicted: torch.Tensor = self.linear(self.norm_final(x_BTSC) * (1 + scale) + shift)
        return predicted
