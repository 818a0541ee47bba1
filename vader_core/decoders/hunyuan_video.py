"""The decoders of HunyuanVideo's two autoencoders.

Letters: B videos, f latent frames, n latent frames of a group, N frames, C channels, h, w, H and W sizes,
K tokens seen so far, D width of a token.

AutoencoderKLHunyuanVideo decodes temporal tiles of a few latent frames, and spatial ones within them
where that is switched on; its group norms take statistics over a whole tile, which is therefore decoded
in one piece. AutoencoderKLHunyuanVideo15 has spatial tiles only, each over the whole length of a video.
Nothing in its decoder looks ahead, so that a tile is a recurrence over latent frames. Its state holds,
for every causal convolution in the order of their use, its last two inputs, and for the attention keys
and values of all latent frames so far: with these no mask is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vader_core.decoders.recurrent import State
from vader_core.decoders.tiled import RecurrentTile, TiledDecoder, WholeTile

# What a layer keeps of what it has seen; None before the first latent frame.
Past = torch.Tensor | None
Visited = tuple[torch.Tensor, list[torch.Tensor]]


def hunyuan_video_decoder(vae: Any, *, dropped: int = 0) -> TiledDecoder:
    """For AutoencoderKLHunyuanVideo; `dropped` frames at the beginning are not the video's."""
    scale, ratio = float(vae.config.scaling_factor), int(vae.config.temporal_compression_ratio)
    tile = WholeTile(vae, lambda latent_frames: (latent_frames - 1) * ratio + 1)
    return TiledDecoder(vae, tile, lambda latents: latents / scale, dropped=dropped)


def hunyuan_video_15_decoder(vae: Any) -> TiledDecoder:
    """For AutoencoderKLHunyuanVideo15."""
    scale = float(vae.config.scaling_factor)
    tile = RecurrentTile(vae, HunyuanVideo15Recurrence(vae))
    return TiledDecoder(vae, tile, lambda latents: latents / scale)


class HunyuanVideo15Recurrence:
    """One latent frame after the other; frames as the decoder gives them, around [-1, 1]."""

    def __init__(self, vae: Any) -> None:
        self._decoder, self.dtype = vae.decoder, vae.dtype
        self._time = int(vae.config.temporal_compression_ratio)
        self._space = int(vae.config.spatial_compression_ratio)

    def groups(self, latent_frames: int) -> list[range]:
        return [range(i, i + 1) for i in range(latent_frames)]

    def frames(self, group: range) -> range:
        first = (group.start - 1) * self._time + 1 if group.start else 0
        return range(first, (group.stop - 1) * self._time + 1)

    def pixels(self, latent_pixels: int) -> int:
        return latent_pixels * self._space

    def first_state(self) -> State:
        return None

    def run(self, latents_BCnHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        walk = _Walk(state)
        decoder = self._decoder
        latents_BCnHW = latents_BCnHW.to(self.dtype)
        x = walk.layer(_conv, decoder.conv_in, latents_BCnHW)
        x = x + latents_BCnHW.repeat_interleave(decoder.repeat, dim=1)
        x = walk.layer(_resnet, decoder.mid_block.resnets[0], x)
        for attention, resnet in zip(
            decoder.mid_block.attentions, decoder.mid_block.resnets[1:], strict=True
        ):
            if attention is not None:
                x = walk.layer(_attention, attention, x)
            x = walk.layer(_resnet, resnet, x)
        for block in decoder.up_blocks:
            for resnet in block.resnets:
                x = walk.layer(_resnet, resnet, x)
            for upsampler in block.upsamplers or []:
                x = walk.layer(_upsample, upsampler, x)
        x = decoder.conv_act(decoder.norm_out(x))
        x = walk.layer(_conv, decoder.conv_out, x)
        return x.transpose(1, 2), walk.state


class _Walk:
    """One pass through the decoder's layers: hands each what it has kept and collects what it keeps."""

    def __init__(self, state: State) -> None:
        self._before = state
        self.state: list[list[torch.Tensor]] = []

    def layer(self, run: Any, module: Any, x: torch.Tensor) -> torch.Tensor:
        past = None if self._before is None else self._before[len(self.state)]
        if torch.is_grad_enabled():
            y, kept = checkpoint(run, module, x, past, use_reentrant=False)
        else:
            y, kept = run(module, x, past)
        self.state.append(kept)
        out: torch.Tensor = y
        return out


def _causal(module: Any, x_BCnHW: torch.Tensor, past: Past) -> tuple[torch.Tensor, torch.Tensor]:
    """A causal convolution of what follows `past`, and what the next call needs of it."""
    *sides, before, _ = module.time_causal_padding
    padded = functional.pad(x_BCnHW, (*sides, 0, 0), mode=module.pad_mode)
    if past is None:
        past = padded[:, :, :1].repeat(1, 1, before, 1, 1)
    whole = torch.cat([past, padded], dim=2)
    return module.conv(whole), whole[:, :, -before:].clone()


def _conv(module: Any, x: torch.Tensor, past: list[torch.Tensor] | None) -> Visited:
    y, kept = _causal(module, x, None if past is None else past[0])
    return y, [kept]


def _resnet(block: Any, x: torch.Tensor, past: list[torch.Tensor] | None) -> Visited:
    first, second = past or (None, None)
    y, kept_1 = _causal(block.conv1, block.nonlinearity(block.norm1(x)), first)
    y, kept_2 = _causal(block.conv2, block.nonlinearity(block.norm2(y)), second)
    shortcut = x if block.conv_shortcut is None else block.conv_shortcut(x)
    return y + shortcut, [kept_1, kept_2]


def _attention(block: Any, x_BCnhw: torch.Tensor, past: list[torch.Tensor] | None) -> Visited:
    """Every token of this latent frame looks at all of it and of those before."""
    normed = block.norm(x_BCnhw)
    query_BKD, key_BKD, value_BKD = (
        project(normed).flatten(2).transpose(1, 2)
        for project in (block.to_q, block.to_k, block.to_v)
    )
    if past is not None:
        key_BKD, value_BKD = torch.cat([past[0], key_BKD], 1), torch.cat([past[1], value_BKD], 1)
    seen = functional.scaled_dot_product_attention(
        query_BKD[:, None], key_BKD[:, None], value_BKD[:, None]
    )
    y = block.proj_out(seen[:, 0].transpose(1, 2).reshape(x_BCnhw.shape))
    return y + x_BCnhw, [key_BKD, value_BKD]


def _upsample(block: Any, x: torch.Tensor, past: list[torch.Tensor] | None) -> Visited:
    """The very first latent frame is not doubled in time: it takes one half of the channels."""
    y, kept = _causal(block.conv, x, None if past is None else past[0])
    is_first = past is None and block.add_temporal_upsample
    time = 2 if block.add_temporal_upsample and not is_first else 1
    unfolded = block._dcae_upsample_rearrange(y, r1=time, r2=2, r3=2)
    if is_first:
        unfolded = unfolded[:, : unfolded.shape[1] // 2]
    if block.add_temporal_upsample:
        shortcut = block._dcae_upsample_rearrange(x, r1=time, r2=2, r3=2)
        shortcut = shortcut.repeat_interleave(block.repeats // (2 if is_first else 1), dim=1)
    else:
        shortcut = x.repeat_interleave(block.repeats, dim=1)
        shortcut = block._dcae_upsample_rearrange(shortcut, r1=1, r2=2, r3=2)
    return unfolded + shortcut, [kept]
