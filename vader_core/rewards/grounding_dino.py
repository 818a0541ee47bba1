"""Grounding DINO made repeatable on GPUs: two of its operations have no repeatable CUDA version.

Deformable attention (arXiv 2010.04159, equation 3) reads feature maps between pixels by
`grid_sample`, whose CUDA backward adds in no fixed order; here the four neighbours of each place are
gathered and weighted, and computed again in the backward pass instead of being kept. The sine position
embedding counts mask pixels by a cumulative sum, which is done on the host. Values are unchanged.

Letters: B images, S places on all levels, Q queries, A attention heads, L levels, P points, D width of
a head, H and W sizes of one level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoMultiscaleDeformableAttention,
    GroundingDinoSinePositionEmbedding,
)


def make_repeatable(model: nn.Module) -> None:
    """Replaces both operations in a Grounding DINO model, in place."""
    for module in list(model.modules()):
        if isinstance(module, GroundingDinoMultiscaleDeformableAttention):
            module.attn = _GatheredSampling()
        for name, child in list(module.named_children()):
            if isinstance(child, GroundingDinoSinePositionEmbedding):
                setattr(module, name, _OnHost(child))


class _OnHost(nn.Module):
    """A position embedding of a mask, computed on the CPU where the mask is on a GPU."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self._embedding = embedding

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        host = mask.cpu() if mask.is_cuda else mask
        embedded: torch.Tensor = self._embedding(features.new_empty(0, device=host.device), host)
        return embedded.to(features.device)


class _GatheredSampling(nn.Module):
    """Multi-scale deformable sampling: the weighted sum of feature maps at the given places."""

    # The signature is that of the module which this one stands in for.
    def forward(self, *inputs: Any) -> torch.Tensor:
        value_BSAD, _, shapes, _, places_BQALP2, weights_BQALP, _ = inputs
        sampled: torch.Tensor = checkpoint(
            _sample, value_BSAD, shapes, places_BQALP2, weights_BQALP, use_reentrant=False
        )
        return sampled


def _sample(
    value_BSAD: torch.Tensor,
    shapes: Sequence[tuple[int, int]],
    places_BQALP2: torch.Tensor,
    weights_BQALP: torch.Tensor,
) -> torch.Tensor:
    """Sums (B, Q, A * D); `places` are (x, y) in [0, 1], `shapes` (H, W) of every level."""
    sizes = [int(height) * int(width) for height, width in shapes]
    total_BAQD = value_BSAD.new_zeros(())
    for level, map_BSAD in enumerate(torch.split(value_BSAD, sizes, dim=1)):
        map_BASD = map_BSAD.transpose(1, 2)
        places_BAQP2 = places_BQALP2[:, :, :, level].transpose(1, 2)
        weights_BAQP = weights_BQALP[:, :, :, level].transpose(1, 2)
        for index_BAQP, share_BAQP in _neighbours(places_BAQP2, *map(int, shapes[level])):
            read_BAQPD = _read(map_BASD, index_BAQP)
            total_BAQD = total_BAQD + (read_BAQPD * (share_BAQP * weights_BAQP)[..., None]).sum(3)
    return total_BAQD.transpose(1, 2).flatten(2)


def _read(map_BASD: torch.Tensor, index_BAQP: torch.Tensor) -> torch.Tensor:
    flat = index_BAQP.flatten(2)[..., None].expand(-1, -1, -1, map_BASD.shape[-1])
    return torch.unflatten(map_BASD.gather(2, flat), 2, index_BAQP.shape[2:])


def _neighbours(
    places_BAQP2: torch.Tensor, height: int, width: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The four pixels around each place, as index into H * W and share; outside shares are 0."""
    x, y = (places_BAQP2 * places_BAQP2.new_tensor([width, height]) - 0.5).unbind(-1)
    left, top = x.detach().floor(), y.detach().floor()
    found = []
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            found.append((index.long(), share_x * share_y * inside))
    return found
