"""From latents to frames, differentiable, in bounded memory.

Letters: B videos, f latent frames, F chosen frames, C channels, H and W sizes (latent or pixel),
N rows of whatever is decoded together. Frames are float in [0, 1] by the pipelines' own formula
clamp(x / 2 + 1/2, 0, 1), so that what is scored is what is saved. The clamp is the plain one: outside
the range its gradient is zero, as autograd has it.

`decode` keeps no graph of the decoder. Its backward decodes again, one chunk at a time with a graph,
and returns the vector-Jacobian product. Frames and gradients are those of decoding everything at
once; `chunk_frames` only decides how large the largest graph is:

- `ImageDecoder` (a 2D autoencoder): `chunk_frames` frames, counted over all videos.
- `CausalVideoDecoder` (AutoencoderKLWan): the decoder is a recurrence over latent frames whose state
  is its feature cache. Windows of whole latent frames, about `chunk_frames` frames counted over all
  videos and at least one latent frame of each, are decoded again from the states kept at their
  borders, last window first. The gradient at a border's state carries what later frames owe to
  earlier latents, so nothing is truncated. Bounded is the graph of one window; kept besides is one
  state (two frames of features for every causal convolution) per border. Latents after the last
  chosen frame are not decoded at all.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

# One entry for every causal convolution: None before the first latent frame, "Rep" where a temporal
# upsampling has seen exactly one, else the features of the last two frames.
State = list[torch.Tensor | str | None]


class Decoder(Protocol):
    """How one kind of autoencoder decodes frames without a graph and pulls gradients back."""

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        *,
        keep_states: bool,
    ) -> tuple[torch.Tensor, list[State]]:
        """Frames (B, F, 3, H, W), and the states that `backward` starts its windows from."""
        ...

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[State],
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
        has_way_back = ctx.needs_input_grad[0]
        frames_BFCHW, states = decoder.forward(
            latents_BCfHW, frame_indices_BF, chunk_frames, keep_states=has_way_back
        )
        if has_way_back:
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


class ImageDecoder:
    """Frames that are decoded one by one: AutoencoderKL as TextToVideoSDPipeline uses it."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        *,
        keep_states: bool,
    ) -> tuple[torch.Tensor, list[State]]:
        del keep_states  # a frame has none
        latents_NCHW = latents_BCfHW.transpose(1, 2)[_rows(frame_indices_BF)]
        images_NCHW = torch.cat(
            [self._images(rows) for rows in torch.split(latents_NCHW, chunk_frames)]
        )
        return torch.unflatten(images_NCHW, 0, tuple(frame_indices_BF.shape)), []

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[State],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        del states
        where = _rows(frame_indices_BF)
        latents_NCHW = latents_BCfHW.transpose(1, 2)[where].detach().requires_grad_()
        chunks = zip(
            torch.split(latents_NCHW, chunk_frames),
            torch.split(grad_frames_BFCHW.flatten(0, 1), chunk_frames),
            strict=True,
        )
        grads = [torch.autograd.grad(self._images(rows), rows, grad)[0] for rows, grad in chunks]
        grad_BCfHW = torch.zeros_like(latents_BCfHW)
        grad_BCfHW.transpose(1, 2)[where] = torch.cat(grads)
        return grad_BCfHW

    def _images(self, latents_NCHW: torch.Tensor) -> torch.Tensor:
        latents_NCHW = latents_NCHW.to(self._vae.dtype) / self._vae.config.scaling_factor
        return _unit_range(self._vae.decode(latents_NCHW, return_dict=False)[0])


class CausalVideoDecoder:
    """A causal 3D autoencoder, decoded latent frame after latent frame: AutoencoderKLWan.

    Latent frame 0 gives frame 0; latent frame i gives frames (i - 1) s + 1 to i s, s being the
    temporal scale.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._scale: int = vae.config.scale_factor_temporal
        self._mean, self._std = (
            torch.tensor(figures, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
            for figures in (vae.config.latents_mean, vae.config.latents_std)
        )

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        *,
        keep_states: bool,
    ) -> tuple[torch.Tensor, list[State]]:
        height, width = (
            self._vae.config.scale_factor_spatial * n for n in latents_BCfHW.shape[-2:]
        )
        frames_BFCHW = torch.zeros(
            (*frame_indices_BF.shape, 3, height, width),
            device=latents_BCfHW.device,
            dtype=self._vae.dtype,
        )
        state, starts = self._first_state(), []
        for window in self._windows(frame_indices_BF, chunk_frames):
            if keep_states:
                starts.append(state)
            block_BNCHW, state = self._run(latents_BCfHW[:, :, _slice(window)], state)
            chosen_BF, where = self._inside(window, frame_indices_BF)
            frames_BFCHW[chosen_BF] = block_BNCHW[where]
        return frames_BFCHW, starts

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[State],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        grad_BCfHW = torch.zeros_like(latents_BCfHW)
        grad_state: list[torch.Tensor | None] = [None] * len(self._first_state())
        windows = self._windows(frame_indices_BF, chunk_frames)
        for window, start in zip(reversed(windows), reversed(states), strict=True):
            latents = latents_BCfHW[:, :, _slice(window)].detach().requires_grad_()
            start = [_leaf(entry) for entry in start]
            block_BNCHW, end = self._run(latents, start)
            chosen_BF, where = self._inside(window, frame_indices_BF)
            outputs = [(block_BNCHW[where], grad_frames_BFCHW[chosen_BF])]
            outputs += [
                (entry, grad)
                for entry, grad in zip(end, grad_state, strict=True)
                if isinstance(entry, torch.Tensor) and grad is not None
            ]
            grad_latents, grad_state = _gradients(outputs, latents, start)
            grad_BCfHW[:, :, _slice(window)] = grad_latents
        return grad_BCfHW

    def _run(self, latents_BCnHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Frames (B, N, 3, H, W) of n latent frames that follow `state`, and the state after them."""
        latents_BCnHW = latents_BCnHW.to(self._vae.dtype) * self._std + self._mean
        decoded = []
        for features in torch.split(self._vae.post_quant_conv(latents_BCnHW), 1, dim=2):
            is_first = state[0] is None
            state = list(state)  # the decoder writes into the list it is given
            decoded.append(
                self._vae.decoder(features, feat_cache=state, feat_idx=[0], first_chunk=is_first)
            )
        video_BCNHW = torch.cat(decoded, dim=2)
        if self._vae.config.patch_size is not None:
            video_BCNHW = unpatchify(video_BCNHW, patch_size=self._vae.config.patch_size)
        return _unit_range(video_BCNHW.transpose(1, 2).clamp(-1, 1)), state

    def _first_state(self) -> State:
        self._vae.clear_cache()
        return list(self._vae._feat_map)

    def _windows(self, frame_indices_BF: torch.Tensor, chunk_frames: int) -> list[range]:
        """Ranges of latent frames, up to the one that the last chosen frame comes from."""
        length = max(1, chunk_frames // (self._scale * len(frame_indices_BF)))
        stop = -(-int(frame_indices_BF.max()) // self._scale) + 1
        return [range(start, min(start + length, stop)) for start in range(0, stop, length)]

    def _inside(
        self, window: range, frame_indices_BF: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Which chosen frames come from `window`: as a mask, and as video and frame of the window."""
        first = (window.start - 1) * self._scale + 1 if window.start else 0
        stop = (window.stop - 1) * self._scale + 1
        chosen_BF = (frame_indices_BF >= first) & (frame_indices_BF < stop)
        return chosen_BF, (chosen_BF.nonzero()[:, 0], frame_indices_BF[chosen_BF] - first)


def _gradients(
    outputs: list[tuple[torch.Tensor, torch.Tensor]], latents: torch.Tensor, state: State
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The gradients at `latents` and at every entry of `state`, of those at `outputs`."""
    held = {i: entry for i, entry in enumerate(state) if isinstance(entry, torch.Tensor)}
    tensors, grads = zip(*outputs, strict=True)
    grad_latents, *grad_held = torch.autograd.grad(
        tensors, [latents, *held.values()], grads, allow_unused=True
    )
    by_entry = dict(zip(held, grad_held, strict=True))
    return grad_latents, [by_entry.get(i) for i in range(len(state))]


def _rows(frame_indices_BF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Video and frame number of every chosen frame, video after video."""
    videos_BF = torch.arange(len(frame_indices_BF), device=frame_indices_BF.device)[:, None]
    return videos_BF.expand_as(frame_indices_BF).flatten(), frame_indices_BF.flatten()


def _slice(window: range) -> slice:
    return slice(window.start, window.stop)


def _leaf(entry: torch.Tensor | str | None) -> torch.Tensor | str | None:
    return entry.detach().requires_grad_() if isinstance(entry, torch.Tensor) else entry


def _unit_range(decoded: torch.Tensor) -> torch.Tensor:
    return (decoded / 2 + 0.5).clamp(0, 1)
