"""VideoCrafter2's denoiser: ModelScope's 3D UNet with an embedding of the frame rate.

Letters: B videos, C channels, f frames, H and W latent sizes, L text tokens, D text width, E width of
the time embedding.

Written from the published configuration and network (github.com/AILab-CVC/VideoCrafter,
configs/inference_t2v_512_v2.0.yaml and lvdm/modules). With those settings (`temporal_conv`,
`temporal_selfatt_only`, `use_linear`, `addition_attention`, no relative positions, no causal mask)
every block is the one of `UNet3DConditionModel`: residual block, temporal convolution, spatial
transformer and temporal transformer with two self-attentions, and a temporal transformer of 8 heads
before the first block. What is added is `fps_cond`: the frame rate gets sinusoids and a two-layer
network of its own, whose output is added to the time embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ModelMixin, UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

# Pipelines are loaded with the base class that diffusers finds by name in the module of a part.
__all__ = ["ModelMixin", "VideoCrafterUNet"]


class TimestepAndFpsEmbedding(TimestepEmbedding):  # type: ignore[misc]
    """The embedding of the timestep, and of the frame rate in the place of its second argument."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        self.fps_proj = Timesteps(channels, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.fps_embedding = TimestepEmbedding(channels, width)

    def forward(self, sinusoids_BC: torch.Tensor, fps_B: torch.Tensor) -> torch.Tensor:
        """The sum (B, E) of both embeddings."""
        fps_BE: torch.Tensor = self.fps_embedding(self.fps_proj(fps_B).to(sinusoids_BC.dtype))
        time_BE: torch.Tensor = super().forward(sinusoids_BC)
        return time_BE + fps_BE


class VideoCrafterUNet(UNet3DConditionModel, PeftAdapterMixin):  # type: ignore[misc]
    """Predicts the noise in a video's latents. The defaults are those of VideoCrafter2."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
        norm_num_groups: int = 32,
    ) -> None:
        with_attention = len(block_out_channels) - 1
        # Decorated as it is, the parent would add its own arguments to the configuration, and this
        # class could then not be made from it.
        UNet3DConditionModel.__init__.__wrapped__(
            self,
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=("CrossAttnDownBlock3D",) * with_attention + ("DownBlock3D",),
            up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * with_attention,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
            norm_num_groups=norm_num_groups,
        )
        channels = block_out_channels[0]
        self.time_embedding = TimestepAndFpsEmbedding(channels, 4 * channels)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | int,
        encoder_hidden_states: torch.Tensor,
        fps: torch.Tensor | int,
        **kwargs: Any,
    ) -> Any:
        """The noise in `sample` (B, C, f, H, W) given the text (B, L, D) and the frame rate of each video.

        `fps` is one number for all videos or (B,); the model was trained on whole frame rates.
        """
        fps_B = torch.as_tensor(fps, device=sample.device).expand(len(sample))
        # The parent hands `timestep_cond` on to its time embedding and does nothing else with it.
        return super().forward(
            sample, timestep, encoder_hidden_states, timestep_cond=fps_B, **kwargs
        )
