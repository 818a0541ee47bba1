"""Open-Sora 1.2 written plainly, from the descriptions and for one video at a time.

Everything is computed from a dictionary of weights by the published names. Sources: hpcaitech/Open-Sora
v1.2.0 (report 1.2 and the classes STDiT3, VAE_Temporal and RFLOW), rotary embeddings of
arXiv 2104.09864, PixArt-alpha's modulation (arXiv 2310.00426), MAGVIT-v2's autoencoder
(arXiv 2310.05737), Stable Diffusion 3's shift of timesteps (arXiv 2403.03206, equation 23).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

Weights = Mapping[str, torch.Tensor]


class Condition(NamedTuple):
    """What the denoiser is told of one video; `text` are the features that are not padding."""

    timestep: float
    text: torch.Tensor
    fps: float
    height: int
    width: int


def below(weights: Weights, prefix: str) -> Weights:
    start = f"{prefix}."
    return {name[len(start) :]: w for name, w in weights.items() if name.startswith(start)}


def linear(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def mlp(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    return linear(weights, "fc2", gelu(linear(weights, "fc1", x)))


def layer_norm(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-6)


def rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def softmax_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """One head: queries (L, D), keys and values (M, D)."""
    scores = torch.exp(q @ k.T / math.sqrt(q.shape[-1]))
    return (scores / scores.sum(-1, keepdim=True)) @ v


def turned(x: torch.Tensor) -> torch.Tensor:
    """Row n of `x` (L, D): its pairs of channels as complex numbers, turned by n * 10000^(-2i/D)."""
    frequencies = 10_000 ** (-torch.arange(0, x.shape[1], 2, dtype=x.dtype) / x.shape[1])
    angles = torch.arange(len(x), dtype=x.dtype)[:, None] * frequencies
    numbers = torch.view_as_complex(x.reshape(len(x), -1, 2).contiguous())
    return torch.view_as_real(numbers * torch.polar(torch.ones_like(angles), angles)).reshape(
        x.shape
    )


def self_attention(
    weights: Weights, x: torch.Tensor, heads: int, *, along_time: bool
) -> torch.Tensor:
    """Of one sequence (L, C)."""
    size = x.shape[-1] // heads
    q, k, v = linear(weights, "qkv", x).split(x.shape[-1], dim=-1)
    outputs = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        query = rms_norm(q[:, part], weights["q_norm.weight"])
        key = rms_norm(k[:, part], weights["k_norm.weight"])
        if along_time:
            query, key = turned(query), turned(key)
        outputs.append(softmax_attention(query, key, v[:, part]))
    return linear(weights, "proj", torch.cat(outputs, dim=-1))


def cross_attention(
    weights: Weights, x: torch.Tensor, text: torch.Tensor, heads: int
) -> torch.Tensor:
    """From rows (L, C) to tokens (M, C)."""
    size = x.shape[-1] // heads
    q = linear(weights, "q_linear", x)
    k, v = linear(weights, "kv_linear", text).split(x.shape[-1], dim=-1)
    outputs = [
        softmax_attention(q[:, part], k[:, part], v[:, part])
        for part in (slice(head * size, (head + 1) * size) for head in range(heads))
    ]
    return linear(weights, "proj", torch.cat(outputs, dim=-1))


def block(
    weights: Weights,
    x: torch.Tensor,
    text: torch.Tensor,
    six: torch.Tensor,
    heads: int,
    *,
    along_time: bool,
) -> torch.Tensor:
    """One STDiT3 block on (T, S, C)."""
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = weights["scale_shift_table"] + six
    modulated = layer_norm(x) * (1 + scale_a) + shift_a
    attended = torch.empty_like(x)
    for index in range(x.shape[1] if along_time else x.shape[0]):
        where = (slice(None), index) if along_time else (index,)
        attended[where] = self_attention(
            below(weights, "attn"), modulated[where], heads, along_time=along_time
        )
    x = x + gate_a * attended
    rows = cross_attention(below(weights, "cross_attn"), x.flatten(0, 1), text, heads)
    x = x + rows.reshape(x.shape)
    return x + gate_m * mlp(below(weights, "mlp"), layer_norm(x) * (1 + scale_m) + shift_m)


def number_embedding(weights: Weights, value: float) -> torch.Tensor:
    half = weights["mlp.0.weight"].shape[1] // 2
    angles = value * torch.exp(-math.log(10_000) * torch.arange(half).double() / half)
    hidden = silu(linear(weights, "mlp.0", torch.cat([angles.cos(), angles.sin()])))
    return linear(weights, "mlp.2", hidden)


def place_embedding(column: float, row: float, width: int) -> torch.Tensor:
    frequencies = [10_000 ** (-2 * i / (width // 2)) for i in range(width // 4)]
    parts = [
        function(place * frequency)
        for place in (column, row)
        for function in (math.sin, math.cos)
        for frequency in frequencies
    ]
    return torch.tensor(parts, dtype=torch.float64)


def denoiser(
    weights: Weights, latents: torch.Tensor, condition: Condition, *, heads: int, base_size: int
) -> torch.Tensor:
    """The first half of the channels that STDiT3 predicts for one video (C, T, H, W), patches 1x2x2."""
    channels, frames, height, width = latents.shape
    rows, columns = -(-height // 2), -(-width // 2)
    padded = functional.pad(latents, (0, 2 * columns - width, 0, 2 * rows - height))
    kernel = weights["x_embedder.proj.weight"]
    side = round(math.sqrt(rows * columns))
    scale = math.sqrt(condition.height * condition.width) / base_size
    x = torch.empty(frames, rows * columns, len(kernel), dtype=latents.dtype)
    for t in range(frames):
        for row in range(rows):
            for column in range(columns):
                patch = padded[:, t, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                place = place_embedding(
                    column / scale * side / columns, row / scale * side / rows, len(kernel)
                )
                content = (kernel[:, :, 0] * patch).sum((1, 2, 3)) + weights["x_embedder.proj.bias"]
                x[t, row * columns + column] = content + place
    time = number_embedding(below(weights, "t_embedder"), condition.timestep)
    time = time + number_embedding(below(weights, "fps_embedder"), condition.fps)
    six = linear(weights, "t_block.1", silu(time)).reshape(6, -1)
    text = mlp(below(weights, "y_embedder.y_proj"), condition.text)
    depth = len([name for name in weights if name.endswith("mlp.fc1.weight")]) // 2
    for index in range(depth):
        for kind, along_time in (("spatial", False), ("temporal", True)):
            own = below(weights, f"{kind}_blocks.{index}")
            x = block(own, x, text, six, heads, along_time=along_time)
    shift, scale_final = weights["final_layer.scale_shift_table"] + time
    x = linear(weights, "final_layer.linear", layer_norm(x) * (1 + scale_final) + shift)
    predicted = torch.empty(channels, frames, 2 * rows, 2 * columns, dtype=latents.dtype)
    for row in range(rows):
        for column in range(columns):
            patch = x[:, row * columns + column].reshape(frames, 2, 2, 2 * channels)
            predicted[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = patch[
                ..., :channels
            ].permute(3, 0, 1, 2)
    return predicted[:, :, :height, :width]


def transformed(t: float, *, pixels: int, latent_frames: int) -> float:
    """The timestep in (0, 1] that stands for t in a video of this size."""
    ratio = math.sqrt(pixels / 512**2) * math.sqrt(latent_frames)
    return ratio * t / (1 + (ratio - 1) * t)


def sampled(
    velocity: Callable[[torch.Tensor, float], torch.Tensor],
    noise: torch.Tensor,
    *,
    steps: int,
    pixels: int,
    latent_frames: int,
) -> torch.Tensor:
    """Euler steps from noise at 1 to data at 0 along a velocity that points to the data."""
    times = [
        transformed(1 - i / steps, pixels=pixels, latent_frames=latent_frames) for i in range(steps)
    ]
    x = noise
    for now, then in zip(times, [*times[1:], 0.0], strict=True):
        x = x + velocity(x, 1000 * now) * (now - then)
    return x


def causal_conv(weights: Weights, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Of one video (C, T, H, W): output frame t sees input frames up to t * stride + stride - 1."""
    kernel = weights[f"{name}.conv.weight"]
    bias = weights.get(f"{name}.conv.bias")
    length, side = kernel.shape[2], kernel.shape[3] // 2
    outputs = []
    for last in range(stride - 1, x.shape[1], stride):
        total = torch.zeros((), dtype=x.dtype)
        for back in range(length):
            if last - back >= 0:
                one = kernel[:, :, length - 1 - back]
                total = total + functional.conv2d(x[None, :, last - back], one, padding=side)[0]
        outputs.append(total if bias is None else total + bias[:, None, None])
    return torch.stack(outputs, dim=1)


def group_norm(weights: Weights, name: str, x: torch.Tensor, groups: int) -> torch.Tensor:
    grouped = x.reshape(groups, -1)
    centred = grouped - grouped.mean(1, keepdim=True)
    normed = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-5)
    scale, shift = (weights[f"{name}.{kind}"][:, None, None, None] for kind in ("weight", "bias"))
    return normed.reshape(x.shape) * scale + shift


def residual(weights: Weights, x: torch.Tensor, groups: int) -> torch.Tensor:
    hidden = causal_conv(weights, "conv1", silu(group_norm(weights, "norm1", x, groups)))
    hidden = causal_conv(weights, "conv2", silu(group_norm(weights, "norm2", hidden, groups)))
    return hidden + (causal_conv(weights, "conv3", x) if "conv3.conv.weight" in weights else x)


def residuals(weights: Weights, name: str, x: torch.Tensor, groups: int) -> torch.Tensor:
    own = below(weights, name)
    for index in range(len({key.split(".")[0] for key in own})):
        x = residual(below(own, str(index)), x, groups)
    return x


def temporal_moments(
    weights: Weights, x: torch.Tensor, *, halves: list[bool], groups: int
) -> torch.Tensor:
    """Mean and log variance of one window of image latents (C, T, H, W)."""
    every = 2 ** sum(halves)
    x = functional.pad(x, (0, 0, 0, 0, -x.shape[1] % every, 0))
    own = below(weights, "encoder")
    x = causal_conv(own, "conv_in", x)
    for level in range(len(halves) + 1):
        x = residuals(own, f"block_res_blocks.{level}", x, groups)
        if level < len(halves) and halves[level]:
            x = causal_conv(own, f"conv_blocks.{level}", x, stride=2)
    x = residuals(own, "res_blocks", x, groups)
    x = causal_conv(own, "conv2", silu(group_norm(own, "norm1", x, groups)))
    return causal_conv(weights, "quant_conv", x)


def temporal_decoded(
    weights: Weights, z: torch.Tensor, frames: int, *, doubles: list[bool], groups: int
) -> torch.Tensor:
    """The last `frames` image latents that one window's latents (C, T, H, W) stand for."""
    own = below(weights, "decoder")
    x = causal_conv(own, "conv1", causal_conv(weights, "post_quant_conv", z))
    x = residuals(own, "res_blocks", x, groups)
    for level in range(len(doubles), -1, -1):
        x = residuals(own, f"block_res_blocks.{level}", x, groups)
        if level and doubles[level - 1]:
            wide = causal_conv(own, f"conv_blocks.{level - 1}", x)
            x = torch.empty(len(wide) // 2, 2 * wide.shape[1], *wide.shape[2:], dtype=z.dtype)
            x[:, 0::2], x[:, 1::2] = wide[0::2], wide[1::2]
    x = causal_conv(own, "conv_out", silu(group_norm(own, "norm1", x, groups)))
    return x[:, x.shape[1] - frames :]
