"""Open-Sora 1.2's denoiser, STDiT3, as a diffusers model.

From hpcaitech/Open-Sora, tag v1.2.0, opensora/models/stdit/stdit3.py; the published weights are
hpcai-tech/OpenSora-STDiT-v3. Blocks that attend within a frame and blocks that attend along time take
turns; every block attends to the text besides.

Differences from the published class, none of which changes a video:
- text-to-video alone: the mask of given frames (`x_mask`) is not here;
- attention is torch's own, and padding is masked where the published code packs the tokens it keeps;
- the published model predicts twice the latent channels. The second half is left over from the DDPM
  that the model grew out of, no rectified-flow sampler reads it, and it is not returned here.

As in the published sampler the timestep is rounded to the type of the weights (bf16) before it is
embedded, and the prediction is float32, or more precise.

Letters: B videos, C channels or width, f latent frames, H and W latent sizes, T, S patches along time
and in a frame, K text tokens.
"""

from __future__ import annotations

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from vader_core.pipelines.open_sora.layers import (
    CaptionEmbedder,
    FinalLayer,
    PatchEmbedder,
    RotaryFrames,
    ScalarEmbedder,
    STDiT3Block,
    patch_positions,
)


class OpenSoraTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):  # type: ignore[misc]
    """Predicts the velocity from noise to data of latents (B, C, f, H, W).

    Arguments of the constructor have the names of the published configuration; the defaults are the
    published model's.
    """

    _no_split_modules = ("STDiT3Block",)

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        in_channels: int = 4,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        caption_channels: int = 4096,
        model_max_length: int = 300,
        input_sq_size: int = 512,
    ) -> None:
        super().__init__()
        patch_size = (patch_size[0], patch_size[1], patch_size[2])
        self.x_embedder = PatchEmbedder(patch_size, in_channels, hidden_size)
        self.t_embedder = ScalarEmbedder(hidden_size)
        self.fps_embedder = ScalarEmbedder(hidden_size)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 6 * hidden_size))
        self.y_embedder = CaptionEmbedder(caption_channels, hidden_size, model_max_length)
        self.rope = RotaryFrames(hidden_size // num_heads)
        self.spatial_blocks, self.temporal_blocks = (
            nn.ModuleList(
                STDiT3Block(hidden_size, num_heads, mlp_ratio, temporal=temporal)
                for _ in range(depth)
            )
            for temporal in (False, True)
        )
        self.final_layer = FinalLayer(hidden_size, 2 * in_channels * math.prod(patch_size))

    @property
    def null_caption(self) -> torch.Tensor:
        """The text features (K, C) of the unconditional branch."""
        return self.y_embedder.y_embedding

    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_attention_mask: torch.Tensor | None = None,
        *,
        fps: float,
        height: int,
        width: int,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """The velocity at `hidden_states` (B, C, f, H, W).

        `timestep` (B) runs from 1000 (noise) to 0 (data). `encoder_hidden_states` (B, K, C) are text
        features, `encoder_attention_mask` (B, K) keeps those that are not padding. `fps`, `height` and
        `width` are those of the video, in pixels.
        """
        dtype = self.x_embedder.proj.weight.dtype
        x_BCTPP = self.x_embedder(hidden_states.to(dtype))
        rows, columns = x_BCTPP.shape[-2:]
        positions_SC = patch_positions(
            rows,
            columns,
            width=self.config.hidden_size,
            scale=math.sqrt(height * width) / self.config.input_sq_size,
            like=x_BCTPP,
        )
        x_BTSC = x_BCTPP.flatten(3).permute(0, 2, 3, 1) + positions_SC
        time_BC = self.t_embedder(timestep.to(dtype), dtype)
        time_BC = time_BC + self.fps_embedder(timestep.new_full((1,), fps), dtype)
        modulation_B6C = self.t_block(time_BC).unflatten(-1, (6, -1))
        text_BKC = self.y_embedder(encoder_hidden_states.to(dtype))
        mask_B11K = (
            None if encoder_attention_mask is None else encoder_attention_mask.bool()[:, None, None]
        )
        conditions = (text_BKC, modulation_B6C, mask_B11K, self.rope(x_BTSC.shape[1]))
        for spatial, temporal in zip(self.spatial_blocks, self.temporal_blocks, strict=True):
            x_BTSC = spatial(x_BTSC, *conditions)
            x_BTSC = temporal(x_BTSC, *conditions)
        patches_BTSC = self.final_layer(x_BTSC, time_BC)
        velocity_BCfHW = self._from_patches(torch.unflatten(patches_BTSC, 2, (rows, columns)))
        velocity_BCfHW = velocity_BCfHW[..., : hidden_states.shape[-2], : hidden_states.shape[-1]]
        velocity_BCfHW = velocity_BCfHW[:, :, : hidden_states.shape[2]]
        velocity_BCfHW = velocity_BCfHW.to(torch.promote_types(dtype, torch.float32))
        if not return_dict:
            return (velocity_BCfHW,)
        return Transformer2DModelOutput(sample=velocity_BCfHW)

    def _from_patches(self, patches: torch.Tensor) -> torch.Tensor:
        """Latents from what was predicted for each patch: (frame, row, column, channel), flattened."""
        patch_size, channels = tuple(self.config.patch_size), self.config.in_channels
        split = torch.unflatten(patches, -1, (*patch_size, 2 * channels))[..., :channels]
        # B, T, rows, columns, then the patch's frames, rows, columns, channels
        ordered = split.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return ordered.flatten(6, 7).flatten(4, 5).flatten(2, 3)
