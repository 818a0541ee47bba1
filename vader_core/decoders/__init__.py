"""From latents to frames, differentiable, in bounded memory.

Letters: B videos, f latent frames, F chosen frames, C channels, H and W sizes (latent or pixel),
N rows of whatever is decoded together. Frames are float in [0, 1] by the pipelines' own formula
clamp(x / 2 + 1/2, 0, 1), so that what is scored is what is saved. The clamp is the plain one: outside
the range its gradient is zero, as autograd has it.

`decode` keeps no graph of the decoder. Its backward decodes again, one part at a time with a graph,
and returns the vector-Jacobian product. Frames and gradients are those of decoding everything at
once; `chunk_frames` only decides how large the largest graph is. There is a decoder for each way in
which an autoencoder ties its frames together:

- `image.ImageDecoder`: frames are decoded one by one (2D autoencoders);
- `recurrent.RecurrentDecoder`: a causal decoder that carries a state from one group of latent frames
  to the next (the causal 3D autoencoders that decode with a feature cache);
- `tiled.TiledDecoder`: windows of latent frames that are decoded apart and blended where they overlap;
- `whole.WholeDecoder`: every frame depends on every latent; the layers are checkpointed instead.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Decoder(Protocol):
    """How one kind of autoencoder decodes frames without a graph and pulls gradients back.

    `forward` may leave in `states` what `backward` starts from; a gradient is pulled back once.
    """

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any] | None,
    ) -> torch.Tensor:
        """Frames (B, F, 3, H, W); without a graph. `states` is None where no backward will follow."""
        ...

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        """The gradient at the latents (B, C, f, H, W) of a gradient at the frames."""
        ...


def decode(
    decoder: Decoder,
    latents_BCfHW: torch.Tensor,
    frame_indices_BF: torch.Tensor,
    *,
    chunk_frames: int,
) -> torch.Tensor:
    """The chosen frames (B, F, 3, H, W) in [0, 1]; `frame_indices_BF` is int64, rising per video."""
    frames_BFCHW: torch.Tensor = _Decode.apply(  # type: ignore[no-untyped-call]
        latents_BCfHW, decoder, frame_indices_BF.to(latents_BCfHW.device), chunk_frames
    )
    return frames_BFCHW


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        latents_BCfHW: torch.Tensor,
        decoder: Decoder,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
    ) -> torch.Tensor:
        states: list[Any] | None = [] if ctx.needs_input_grad[0] else None
        frames_BFCHW = decoder.forward(latents_BCfHW, frame_indices_BF, chunk_frames, states)
        if states is not None:
            ctx.save_for_backward(latents_BCfHW)
            ctx.call = (decoder, frame_indices_BF, chunk_frames, states)
        return frames_BFCHW

    @staticmethod
    def backward(
        ctx: Any, grad_frames_BFCHW: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None]:
        (latents_BCfHW,) = ctx.saved_tensors
        decoder, frame_indices_BF, chunk_frames, states = ctx.call
        with torch.enable_grad():
            grad = decoder.backward(
                latents_BCfHW, frame_indices_BF, chunk_frames, states, grad_frames_BFCHW
            )
        return grad, None, None, None


def unit_range(decoded: torch.Tensor) -> torch.Tensor:
    """From an autoencoder's [-1, 1] to [0, 1]."""
    return (decoded / 2 + 0.5).clamp(0, 1)


def rows(frame_indices_BF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Video and frame number of every chosen frame, video after video."""
    videos_BF = torch.arange(len(frame_indices_BF), device=frame_indices_BF.device)[:, None]
    return videos_BF.expand_as(frame_indices_BF).flatten(), frame_indices_BF.flatten()
