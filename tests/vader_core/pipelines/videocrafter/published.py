"""VideoCrafter2 as it was published, written anew from its equations: names, shapes and plain functions.

Nothing here uses diffusers or transformers. Names and shapes are those of the modules that the
published configuration builds (github.com/AILab-CVC/VideoCrafter: configs/inference_t2v_512_v2.0.yaml,
lvdm/modules/networks/openaimodel3d.py and ae_modules.py, lvdm/modules/attention.py; OpenCLIP's text
transformer), which load model.ckpt with `strict=True`.

Letters: B videos, T frames, N images (B x T), C channels, H and W sizes, L tokens, D widths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

Weights = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]
# (kind, channels in, channels out) of each part of a block.
Part = tuple[str, int, int]


@dataclass(frozen=True)
class Sizes:
    """What the published configuration fixes, smaller in tests."""

    channels: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    layers: int = 2
    head: int = 64
    context: int = 1024
    groups: int = 32
    vae_channels: int = 128
    vae_groups: int = 32
    text_layers: int = 24
    text_heads: int = 16
    words: int = 49408
    tokens: int = 77


# The denoiser


def unet_blocks(sizes: Sizes) -> dict[str, list[Part]]:
    """The parts of every block in the order of their use."""
    base, levels = sizes.channels, len(sizes.multipliers)
    blocks: dict[str, list[Part]] = {
        "input_blocks.0": [("conv", 4, base)],
        "init_attn": [("initial", base, base)],
    }
    kept, now, count = [base], base, 1
    for level, multiplier in enumerate(sizes.multipliers):
        for _ in range(sizes.layers):
            parts: list[Part] = [("res", now, multiplier * base)]
            now = multiplier * base
            if level < levels - 1:
                parts += [("spatial", now, now), ("temporal", now, now)]
            blocks[f"input_blocks.{count}"], count = parts, count + 1
            kept.append(now)
        if level < levels - 1:
            blocks[f"input_blocks.{count}"], count = [("down", now, now)], count + 1
            kept.append(now)
    middle = [("res", now, now), ("spatial", now, now), ("temporal", now, now), ("res", now, now)]
    blocks["middle_block"] = middle
    count = 0
    for level in reversed(range(levels)):
        for layer in range(sizes.layers + 1):
            out = sizes.multipliers[level] * base
            parts = [("res", now + kept.pop(), out)]
            now = out
            if level < levels - 1:
                parts += [("spatial", now, now), ("temporal", now, now)]
            if level and layer == sizes.layers:
                parts.append(("up", now, now))
            blocks[f"output_blocks.{count}"], count = parts, count + 1
    return blocks


def unet_shapes(sizes: Sizes) -> Shapes:
    base = sizes.channels
    width = 4 * base
    found: Shapes = {}
    for embedding in ("time_embed", "fps_embedding"):
        found |= _linear(f"{embedding}.0", base, width) | _linear(f"{embedding}.2", width, width)
    for block, parts in unet_blocks(sizes).items():
        for place, (kind, before, after) in enumerate(parts):
            name = f"{block}.{place}"
            if kind == "conv":
                found |= _conv(name, before, after)
            elif kind == "down":
                found |= _conv(f"{name}.op", before, after)
            elif kind == "up":
                found |= _conv(f"{name}.conv", before, after)
            elif kind == "res":
                found |= _res_shapes(name, before, after, width)
            else:
                found |= _transformer_shapes(name, kind, before, sizes)
    return found | _norm("out.0", base) | _conv("out.2", base, 4)


def _res_shapes(name: str, before: int, after: int, width: int) -> Shapes:
    found = _norm(f"{name}.in_layers.0", before) | _conv(f"{name}.in_layers.2", before, after)
    found |= _linear(f"{name}.emb_layers.1", width, after)
    found |= _norm(f"{name}.out_layers.0", after) | _conv(f"{name}.out_layers.3", after, after)
    if before != after:
        found |= _conv(f"{name}.skip_connection", before, after, 1, 1)
    for number, last in ((1, 2), (2, 3), (3, 3), (4, 3)):
        conv = f"{name}.temopral_conv.conv{number}"
        found |= _norm(f"{conv}.0", after) | _conv(f"{conv}.{last}", after, after, 3, 1, 1)
    return found


def _transformer_shapes(name: str, kind: str, channels: int, sizes: Sizes) -> Shapes:
    inner = 8 * sizes.head if kind == "initial" else channels
    kernel = (1,) if kind == "initial" else ()
    found = _norm(f"{name}.norm", channels)
    found |= _conv(f"{name}.proj_in", channels, inner, *kernel) if kernel else {}
    found |= {} if kernel else _linear(f"{name}.proj_in", channels, inner)
    found |= _conv(f"{name}.proj_out", inner, channels, *kernel) if kernel else {}
    found |= {} if kernel else _linear(f"{name}.proj_out", inner, channels)
    block = f"{name}.transformer_blocks.0"
    for number in (1, 2, 3):
        found |= _norm(f"{block}.norm{number}", inner)
    for number in (1, 2):
        told = sizes.context if kind == "spatial" and number == 2 else inner
        found[f"{block}.attn{number}.to_q.weight"] = (inner, inner)
        found[f"{block}.attn{number}.to_k.weight"] = (inner, told)
        found[f"{block}.attn{number}.to_v.weight"] = (inner, told)
        found |= _linear(f"{block}.attn{number}.to_out.0", inner, inner)
    found |= _linear(f"{block}.ff.net.0.proj", inner, 8 * inner)
    return found | _linear(f"{block}.ff.net.2", 4 * inner, inner)


def unet(
    weights: Weights,
    sizes: Sizes,
    video_BCTHW: torch.Tensor,
    timestep: int,
    context_BLD: torch.Tensor,
    fps: int,
) -> torch.Tensor:
    """The noise that the denoiser predicts."""
    videos, frames = len(video_BCTHW), video_BCTHW.shape[2]
    emb_E = embedding(weights, "time_embed", timestep, sizes.channels)
    emb_E = emb_E + embedding(weights, "fps_embedding", fps, sizes.channels)
    context_NLD = context_BLD.repeat_interleave(frames, 0)
    images = video_BCTHW.transpose(1, 2).flatten(0, 1)
    kept: list[torch.Tensor] = []
    for block, parts in unet_blocks(sizes).items():
        if block.startswith("output"):
            images = torch.cat([images, kept.pop()], 1)
        for place, (kind, _, _) in enumerate(parts):
            name = f"{block}.{place}"
            if kind == "res":
                images = res_block(weights, name, images, emb_E, videos, sizes.groups)
            elif kind == "spatial":
                images = spatial(weights, name, images, context_NLD, sizes)
            elif kind in {"temporal", "initial"}:
                images = temporal(weights, name, images, videos, sizes)
            elif kind == "up":
                images = conv(weights, f"{name}.conv", _doubled(images), 1)
            else:
                stride = 2 if kind == "down" else 1
                conv_name = f"{name}.op" if kind == "down" else name
                images = conv(weights, conv_name, images, 1, stride)
        if block == "init_attn":
            kept[-1] = images
        elif block.startswith("input"):
            kept.append(images)
    images = conv(weights, "out.2", F.silu(norm(weights, "out.0", images, sizes.groups)), 1)
    return images.unflatten(0, (videos, frames)).transpose(1, 2)


def embedding(weights: Weights, name: str, value: float, channels: int) -> torch.Tensor:
    """Cosines, then sines, of `value` times 10000^(-i / half), through two layers."""
    half = channels // 2
    like = weights[f"{name}.0.weight"]
    angles = torch.tensor([value * 10000 ** (-i / half) for i in range(half)]).to(like)
    hidden = linear(weights, f"{name}.0", torch.cat([angles.cos(), angles.sin()]))
    return linear(weights, f"{name}.2", F.silu(hidden))


def res_block(
    weights: Weights,
    name: str,
    images: torch.Tensor,
    emb_E: torch.Tensor,
    videos: int,
    groups: int,
) -> torch.Tensor:
    hidden = F.silu(norm(weights, f"{name}.in_layers.0", images, groups))
    hidden = conv(weights, f"{name}.in_layers.2", hidden, 1)
    hidden = hidden + linear(weights, f"{name}.emb_layers.1", F.silu(emb_E))[:, None, None]
    hidden = F.silu(norm(weights, f"{name}.out_layers.0", hidden, groups))
    hidden = conv(weights, f"{name}.out_layers.3", hidden, 1)
    if f"{name}.skip_connection.weight" in weights:
        images = conv(weights, f"{name}.skip_connection", images, 0)
    video = (images + hidden).unflatten(0, (videos, -1)).transpose(1, 2)
    inside = video
    for number, last in ((1, 2), (2, 3), (3, 3), (4, 3)):
        layer = f"{name}.temopral_conv.conv{number}"
        inside = F.silu(norm(weights, f"{layer}.0", inside, groups))
        weight, bias = weights[f"{layer}.{last}.weight"], weights[f"{layer}.{last}.bias"]
        inside = F.conv3d(inside, weight, bias, padding=(1, 0, 0))
    return (video + inside).transpose(1, 2).flatten(0, 1)


def spatial(
    weights: Weights, name: str, images: torch.Tensor, context_NLD: torch.Tensor, sizes: Sizes
) -> torch.Tensor:
    height, width = images.shape[2:]
    tokens = norm(weights, f"{name}.norm", images, sizes.groups, 1e-6).flatten(2).transpose(1, 2)
    tokens = linear(weights, f"{name}.proj_in", tokens)
    tokens = transformer_block(weights, f"{name}.transformer_blocks.0", tokens, context_NLD, sizes)
    tokens = linear(weights, f"{name}.proj_out", tokens)
    return images + tokens.transpose(1, 2).unflatten(2, (height, width))


def temporal(
    weights: Weights, name: str, images: torch.Tensor, videos: int, sizes: Sizes
) -> torch.Tensor:
    """Attention of every place over the frames; the normalisation is over the whole video."""
    video = images.unflatten(0, (videos, -1)).transpose(1, 2)
    height, width = images.shape[2:]
    tokens = norm(weights, f"{name}.norm", video, sizes.groups, 1e-6)
    tokens = tokens.permute(0, 3, 4, 2, 1).flatten(0, 2)
    tokens = linear(weights, f"{name}.proj_in", tokens)
    tokens = transformer_block(weights, f"{name}.transformer_blocks.0", tokens, None, sizes)
    tokens = linear(weights, f"{name}.proj_out", tokens)
    tokens = tokens.unflatten(0, (videos, height, width)).permute(0, 3, 4, 1, 2)
    return images + tokens.flatten(0, 1)


def transformer_block(
    weights: Weights,
    name: str,
    tokens: torch.Tensor,
    context: torch.Tensor | None,
    sizes: Sizes,
) -> torch.Tensor:
    """Self-attention, then attention to the context or once more to itself, then a gated network."""
    for number, told in ((1, None), (2, context)):
        normed = _layer_norm(weights, f"{name}.norm{number}", tokens)
        source = normed if told is None else told
        query, key, value = (
            normed @ weights[f"{name}.attn{number}.to_q.weight"].T,
            source @ weights[f"{name}.attn{number}.to_k.weight"].T,
            source @ weights[f"{name}.attn{number}.to_v.weight"].T,
        )
        mixed = attention(query, key, value, query.shape[-1] // sizes.head)
        tokens = tokens + linear(weights, f"{name}.attn{number}.to_out.0", mixed)
    hidden, gate = linear(
        weights, f"{name}.ff.net.0.proj", _layer_norm(weights, f"{name}.norm3", tokens)
    ).chunk(2, -1)
    return tokens + linear(weights, f"{name}.ff.net.2", hidden * F.gelu(gate))


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    heads: int,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V, head by head."""
    query, key, value = (
        one.unflatten(-1, (heads, -1)).transpose(-3, -2) for one in (query, key, value)
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(-1) @ value).transpose(-3, -2).flatten(-2)


# The autoencoder


def autoencoder_shapes(sizes: Sizes) -> Shapes:
    base, widths = sizes.vae_channels, [m * sizes.vae_channels for m in (1, 2, 4, 4)]
    found = _conv("encoder.conv_in", 3, base) | _conv("decoder.conv_in", 4, widths[-1])
    now = base
    for level, width in enumerate(widths):
        for layer in range(2):
            found |= _image_res_shapes(f"encoder.down.{level}.block.{layer}", now, width)
            now = width
        if level < 3:
            found |= _conv(f"encoder.down.{level}.downsample.conv", now, now)
    for side in ("encoder", "decoder"):
        for number in (1, 2):
            found |= _image_res_shapes(f"{side}.mid.block_{number}", now, now)
        found |= _norm(f"{side}.mid.attn_1.norm", now)
        for part in ("q", "k", "v", "proj_out"):
            found |= _conv(f"{side}.mid.attn_1.{part}", now, now, 1, 1)
    for level, width in reversed(list(enumerate(widths))):
        for layer in range(3):
            found |= _image_res_shapes(f"decoder.up.{level}.block.{layer}", now, width)
            now = width
        if level:
            found |= _conv(f"decoder.up.{level}.upsample.conv", now, now)
    found |= _norm("encoder.norm_out", widths[-1]) | _conv("encoder.conv_out", widths[-1], 8)
    found |= _norm("decoder.norm_out", base) | _conv("decoder.conv_out", base, 3)
    return found | _conv("quant_conv", 8, 8, 1, 1) | _conv("post_quant_conv", 4, 4, 1, 1)


def _image_res_shapes(name: str, before: int, after: int) -> Shapes:
    found = _norm(f"{name}.norm1", before) | _conv(f"{name}.conv1", before, after)
    found |= _norm(f"{name}.norm2", after) | _conv(f"{name}.conv2", after, after)
    return found | (_conv(f"{name}.nin_shortcut", before, after, 1, 1) if before != after else {})


def decode(weights: Weights, sizes: Sizes, latents: torch.Tensor) -> torch.Tensor:
    """Images of latents, without the latents' scale factor."""
    images = conv(weights, "post_quant_conv", latents, 0)
    images = conv(weights, "decoder.conv_in", images, 1)
    images = _middle(weights, "decoder", images, sizes.vae_groups)
    for level in reversed(range(4)):
        for layer in range(3):
            name = f"decoder.up.{level}.block.{layer}"
            images = _image_res(weights, name, images, sizes.vae_groups)
        if level:
            images = conv(weights, f"decoder.up.{level}.upsample.conv", _doubled(images), 1)
    images = F.silu(norm(weights, "decoder.norm_out", images, sizes.vae_groups, 1e-6))
    return conv(weights, "decoder.conv_out", images, 1)


def encode(weights: Weights, sizes: Sizes, images: torch.Tensor) -> torch.Tensor:
    """Means and logarithms of variances of the latents of images."""
    images = conv(weights, "encoder.conv_in", images, 1)
    for level in range(4):
        for layer in range(2):
            name = f"encoder.down.{level}.block.{layer}"
            images = _image_res(weights, name, images, sizes.vae_groups)
        if level < 3:
            # One row and one column of zeros at the far ends only.
            images = conv(
                weights, f"encoder.down.{level}.downsample.conv", F.pad(images, (0, 1, 0, 1)), 0, 2
            )
    images = _middle(weights, "encoder", images, sizes.vae_groups)
    images = F.silu(norm(weights, "encoder.norm_out", images, sizes.vae_groups, 1e-6))
    return conv(weights, "quant_conv", conv(weights, "encoder.conv_out", images, 1), 0)


def _middle(weights: Weights, side: str, images: torch.Tensor, groups: int) -> torch.Tensor:
    images = _image_res(weights, f"{side}.mid.block_1", images, groups)
    name, size = f"{side}.mid.attn_1", images.shape[2:]
    normed = norm(weights, f"{name}.norm", images, groups, 1e-6)
    query, key, value = (
        conv(weights, f"{name}.{part}", normed, 0).flatten(2).transpose(1, 2) for part in "qkv"
    )
    mixed = attention(query, key, value, 1).transpose(1, 2).unflatten(2, tuple(size))
    images = images + conv(weights, f"{name}.proj_out", mixed, 0)
    return _image_res(weights, f"{side}.mid.block_2", images, groups)


def _image_res(weights: Weights, name: str, images: torch.Tensor, groups: int) -> torch.Tensor:
    hidden = F.silu(norm(weights, f"{name}.norm1", images, groups, 1e-6))
    hidden = conv(weights, f"{name}.conv1", hidden, 1)
    hidden = F.silu(norm(weights, f"{name}.norm2", hidden, groups, 1e-6))
    hidden = conv(weights, f"{name}.conv2", hidden, 1)
    if f"{name}.nin_shortcut.weight" in weights:
        images = conv(weights, f"{name}.nin_shortcut", images, 0)
    return images + hidden


# The text encoder


def text_shapes(sizes: Sizes) -> Shapes:
    width = sizes.context
    found: Shapes = {
        "token_embedding.weight": (sizes.words, width),
        "positional_embedding": (sizes.tokens, width),
        "text_projection": (width, width),
        "logit_scale": (),
    }
    for layer in range(sizes.text_layers):
        name = f"transformer.resblocks.{layer}"
        found |= _norm(f"{name}.ln_1", width) | _norm(f"{name}.ln_2", width)
        found[f"{name}.attn.in_proj_weight"] = (3 * width, width)
        found[f"{name}.attn.in_proj_bias"] = (3 * width,)
        found |= _linear(f"{name}.attn.out_proj", width, width)
        found |= _linear(f"{name}.mlp.c_fc", width, 4 * width)
        found |= _linear(f"{name}.mlp.c_proj", 4 * width, width)
    return found | _norm("ln_final", width)


def text(weights: Weights, sizes: Sizes, ids_BL: torch.Tensor) -> torch.Tensor:
    """The output of the layer before the last, after the last norm."""
    tokens = weights["token_embedding.weight"][ids_BL] + weights["positional_embedding"]
    mask = torch.full((sizes.tokens, sizes.tokens), -math.inf).triu(1).to(tokens)
    for layer in range(sizes.text_layers - 1):
        name = f"transformer.resblocks.{layer}"
        normed = _layer_norm(weights, f"{name}.ln_1", tokens)
        joint = normed @ weights[f"{name}.attn.in_proj_weight"].T
        joint = joint + weights[f"{name}.attn.in_proj_bias"]
        mixed = attention(*joint.chunk(3, -1), sizes.text_heads, mask)
        tokens = tokens + linear(weights, f"{name}.attn.out_proj", mixed)
        normed = _layer_norm(weights, f"{name}.ln_2", tokens)
        hidden = F.gelu(linear(weights, f"{name}.mlp.c_fc", normed))
        tokens = tokens + linear(weights, f"{name}.mlp.c_proj", hidden)
    return _layer_norm(weights, "ln_final", tokens)


# The whole checkpoint


def shapes(sizes: Sizes) -> Shapes:
    """Every tensor of model.ckpt."""
    schedule = [
        *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod"),
        *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod"),
        *("sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance"),
        *("posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
    ]
    found: Shapes = {name: (1000,) for name in schedule}
    # `fix_scale_bug` is off: 400 falling values are followed by 1,000 others.
    found["scale_arr"] = (1400,)
    parts = {
        "model.diffusion_model.": unet_shapes(sizes),
        "first_stage_model.": autoencoder_shapes(sizes),
        "cond_stage_model.model.": text_shapes(sizes),
    }
    for prefix, part in parts.items():
        found |= {prefix + name: shape for name, shape in part.items()}
    return found


def random_weights(sizes: Sizes, *, seed: int) -> Weights:
    """A checkpoint of that size, in float64: small enough values that nothing saturates."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    found = {}
    for name, shape in shapes(sizes).items():
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 25
        found[name] = drawn(shape) / math.sqrt(fan_in)
    return found


def part(weights: Weights, prefix: str) -> Weights:
    return {
        name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)
    }


def conv(
    weights: Weights, name: str, images: torch.Tensor, padding: int, stride: int = 1
) -> torch.Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return F.conv2d(images, weight, bias, padding=padding, stride=stride)


def linear(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    """Also for convolutions of width 1 over one dimension."""
    return rows @ weights[f"{name}.weight"].flatten(1).T + weights[f"{name}.bias"]


def norm(
    weights: Weights, name: str, values: torch.Tensor, groups: int, eps: float = 1e-5
) -> torch.Tensor:
    return F.group_norm(values, groups, weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def _layer_norm(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return F.layer_norm(rows, rows.shape[-1:], weight, bias)


def _doubled(images: torch.Tensor) -> torch.Tensor:
    return images.repeat_interleave(2, -1).repeat_interleave(2, -2)


def _linear(name: str, before: int, after: int) -> Shapes:
    return dict(_both(name, (after, before), after))


def _conv(name: str, before: int, after: int, *kernel: int) -> Shapes:
    return dict(_both(name, (after, before, *(kernel or (3, 3))), after))


def _norm(name: str, width: int) -> Shapes:
    return dict(_both(name, (width,), width))


def _both(name: str, weight: tuple[int, ...], bias: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", (bias,)
