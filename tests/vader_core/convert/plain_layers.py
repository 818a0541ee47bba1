"""Layers of the published models written out plainly on named tensors, and such tensors drawn at random.

Letters: N batch, I query tokens, J key tokens, D width, H heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

Tensors = Mapping[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]


def drawn(shapes: Shapes, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random float64 tensors; norms' weights lie near 1."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        values = 0.15 * torch.randn(shape, generator=generator, dtype=torch.float64)
        is_norm = name.endswith(".weight") and len(shape) == 1
        found[name] = values + 1 if is_norm else values
    return found


def linear_shapes(name: str, old: int, new: int) -> Shapes:
    return {f"{name}.weight": (new, old), f"{name}.bias": (new,)}


def norm_shapes(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(x: torch.Tensor, tensors: Tensors, name: str) -> torch.Tensor:
    out = x @ tensors[f"{name}.weight"].T
    return out + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else out


def norm(x: torch.Tensor, tensors: Tensors, name: str, eps: float) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return unit * tensors[f"{name}.weight"] + tensors.get(f"{name}.bias", torch.zeros(()))


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def attention(
    query_NID: torch.Tensor,
    key_NJD: torch.Tensor,
    value_NJD: torch.Tensor,
    *,
    heads: int,
    hidden: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multi-head attention; `hidden` is True where a key must not be seen."""
    query, key, value = (
        torch.unflatten(part, -1, (heads, -1)).transpose(1, 2)
        for part in (query_NID, key_NJD, value_NJD)
    )
    logits_NHIJ = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if hidden is not None:
        logits_NHIJ = logits_NHIJ.masked_fill(hidden, -torch.inf)
    return (logits_NHIJ.softmax(-1) @ value).transpose(1, 2).flatten(-2)
