"""Open-Sora 1.2's video autoencoder as a diffusers model: an image autoencoder and a temporal one.

From hpcaitech/Open-Sora, tag v1.2.0, opensora/models/vae/vae.py; the published weights are
hpcai-tech/OpenSora-VAE-v1.2. Frames are encoded one by one by an SDXL-shaped AutoencoderKL, and
windows of 17 frames become 5 latent frames each. Windows know nothing of each other, in encoding and
in decoding.

The published class normalises its latents itself. Here that is the pipeline's part, as it is with
diffusers' video autoencoders: latents of the denoiser are (z - `latents_mean`) / `latents_std`. The
published names of these are shift and scale.

Letters: B videos, C channels, f latent frames, F frames, H and W sizes, N images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin

from vader_core.pipelines.open_sora.temporal import TemporalAutoencoder, TemporalShape

# Images that the spatial half takes at once; every image is a computation of its own.
_IMAGES_AT_ONCE = 4


class AutoencoderKLOpenSora(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Videos (B, 3, F, H, W) in [-1, 1] and latents (B, C, f, H / 8, W / 8)."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        latent_channels: int = 4,
        spatial_block_out_channels: Sequence[int] = (128, 256, 512, 512),
        spatial_layers_per_block: int = 2,
        spatial_scaling_factor: float = 0.18215,
        temporal_width: int = 128,
        temporal_blocks: int = 4,
        temporal_multipliers: Sequence[int] = (1, 2, 2, 4),
        temporal_halves: Sequence[bool] = (False, True, True),
        norm_num_groups: int = 32,
        micro_frame_size: int = 17,
        latents_mean: Sequence[float] = (-0.10, 0.34, 0.27, 0.98),
        latents_std: Sequence[float] = (3.85, 2.32, 2.33, 3.06),
    ) -> None:
        super().__init__()
        levels = len(spatial_block_out_channels)
        self.spatial_vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(spatial_block_out_channels),
            layers_per_block=spatial_layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            scaling_factor=spatial_scaling_factor,
        )
        self.temporal_vae = TemporalAutoencoder(
            TemporalShape(
                channels=latent_channels,
                width=temporal_width,
                blocks=temporal_blocks,
                multipliers=temporal_multipliers,
                halves=temporal_halves,
                groups=norm_num_groups,
            )
        )

    @property
    def scale_factor_spatial(self) -> int:
        """Pixels per latent pixel, along one side."""
        return int(2 ** (len(self.config.spatial_block_out_channels) - 1))

    @property
    def window_latents(self) -> int:
        """Latent frames of a whole window."""
        return self.temporal_vae.latent_frames(self.config.micro_frame_size)

    def latent_frames(self, frames: int) -> int:
        """How many latent frames a video of `frames` frames has."""
        whole, rest = divmod(frames, self.config.micro_frame_size)
        return int(whole * self.window_latents + self.temporal_vae.latent_frames(rest))

    def frames(self, latent_frames: int) -> int:
        """How many frames `latent_frames` latent frames stand for, at the fewest in the last window."""
        whole, rest = divmod(latent_frames, self.window_latents)
        scale = self.temporal_vae.scale
        return int(whole * self.config.micro_frame_size + max(0, (rest - 1) * scale + min(rest, 1)))

    def encode(
        self,
        frames_BCFHW: torch.Tensor,
        *,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """The distribution of a video's latents.

        The image latents under it are a draw themselves, as in the published encoder; `generator`
        makes it repeatable.
        """
        spatial_BCFHW = self._encode_images(frames_BCFHW, generator)
        windows = torch.split(spatial_BCFHW, self.config.micro_frame_size, dim=2)
        moments = torch.cat([self.temporal_vae.moments(window) for window in windows], dim=2)
        posterior = DiagonalGaussianDistribution(moments)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(
        self,
        latents_BCfHW: torch.Tensor,
        num_frames: int | None = None,
        *,
        return_dict: bool = True,
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """The video of latents that are not normalised, `num_frames` frames long."""
        total = self.frames(latents_BCfHW.shape[2]) if num_frames is None else num_frames
        counts = [
            min(self.config.micro_frame_size, total - start)
            for start in range(0, total, self.config.micro_frame_size)
        ]
        windows = torch.split(latents_BCfHW, self.window_latents, dim=2)
        spatial_BCFHW = torch.cat(
            [self.decode_window(*pair) for pair in zip(windows, counts, strict=True)], dim=2
        )
        images_NCHW = self.decode_images(spatial_BCFHW.transpose(1, 2).flatten(0, 1))
        video_BCFHW = torch.unflatten(images_NCHW, 0, (len(latents_BCfHW), -1)).transpose(1, 2)
        return DecoderOutput(sample=video_BCFHW) if return_dict else (video_BCFHW,)

    def decode_window(self, latents_BCfHW: torch.Tensor, frames: int) -> torch.Tensor:
        """The image latents (B, C, F, H, W) of one window's latents."""
        return self.temporal_vae.decode(latents_BCfHW, frames)

    def decode_images(self, latents_NCHW: torch.Tensor) -> torch.Tensor:
        """The images (N, 3, H, W) of image latents."""
        scaled = latents_NCHW / self.config.spatial_scaling_factor
        images = [
            self.spatial_vae.decode(some).sample for some in torch.split(scaled, _IMAGES_AT_ONCE)
        ]
        return torch.cat(images)

    def _encode_images(
        self, frames_BCFHW: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        images_NCHW = frames_BCFHW.transpose(1, 2).flatten(0, 1)
        latents_NCHW = torch.cat(
            [
                self.spatial_vae.encode(some).latent_dist.sample(generator)
                for some in torch.split(images_NCHW, _IMAGES_AT_ONCE)
            ]
        )
        latents_BFCHW = torch.unflatten(latents_NCHW, 0, (len(frames_BCFHW), -1))
        scaled: torch.Tensor = latents_BFCHW.transpose(1, 2) * self.config.spatial_scaling_factor
        return scaled
