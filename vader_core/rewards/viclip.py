"""ViCLIP: a video and a text encoder whose embeddings are compared by their cosine.

The architecture is that of arXiv 2307.06942, section 4, as published in OpenGVLab/InternVideo,
Data/InternVid/viclip: CLIP's two transformers, of which the vision one attends over the patches of all
frames at once. Each patch gets a place within its frame and the frame a place in time; one class token
stands before them all. The tensors keep their published names.

Letters: B videos, F frames, C channels, H and W sizes, P patches of a frame, N tokens, D features.
"""

from __future__ import annotations

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel


@strict
class ViClipConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes; those given here are ViCLIP-L's. Attention heads are 64 wide, as CLIP's are."""

    model_type = "viclip"

    image_size: int = 224
    patch_size: int = 14
    num_frames: int = 8
    vision_width: int = 1024
    vision_layers: int = 24
    text_width: int = 768
    text_layers: int = 12
    context_length: int = 32
    vocab_size: int = 49408
    projection_dim: int = 768
    head_width: int = 64


class ViClipModel(PreTrainedModel):  # type: ignore[misc]
    """Both encoders."""

    config_class = ViClipConfig
    base_model_prefix = ""

    def __init__(self, config: ViClipConfig) -> None:
        super().__init__(config)
        self.vision_encoder = VideoEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.post_init()


class VideoEncoder(nn.Module):
    """Videos (B, F, C, H, W) of the config's frames and size to embeddings (B, D)."""

    def __init__(self, config: ViClipConfig) -> None:
        super().__init__()
        width, patch = config.vision_width, config.patch_size
        patches = (config.image_size // patch) ** 2
        kernel = (1, patch, patch)
        self.conv1 = nn.Conv3d(3, width, kernel, kernel, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(patches + 1, width))
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, config.num_frames, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config.vision_layers, config.head_width)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, config.projection_dim))

    def forward(self, pixels_BFCHW: torch.Tensor) -> torch.Tensor:
        patches_BDFP = self.conv1(pixels_BFCHW.transpose(1, 2)).flatten(3)
        patches_BPFD = patches_BDFP.permute(0, 3, 2, 1) + self.positional_embedding[1:, None]
        patches_BPFD = patches_BPFD + self.temporal_positional_embedding
        first_D = self.class_embedding + self.positional_embedding[0]
        first_B1D = first_D.expand(len(patches_BPFD), 1, -1)
        states_BND = torch.cat([first_B1D, patches_BPFD.flatten(1, 2)], dim=1)
        states_BND = self.transformer(self.ln_pre(states_BND))
        embedded_BD: torch.Tensor = self.ln_post(states_BND[:, 0]) @ self.proj
        return embedded_BD


class TextEncoder(nn.Module):
    """Token ids (B, N), each text closed by its end token and none padded, to embeddings (B, D)."""

    def __init__(self, config: ViClipConfig) -> None:
        super().__init__()
        width = config.text_width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, width))
        self.transformer = Transformer(width, config.text_layers, config.head_width)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, config.projection_dim))

    def forward(self, ids_BN: torch.Tensor) -> torch.Tensor:
        count = ids_BN.shape[1]
        states_BND = self.token_embedding(ids_BN) + self.positional_embedding[:count]
        ahead_NN = torch.ones(count, count, dtype=torch.bool, device=ids_BN.device).triu(1)
        states_BND = self.transformer(states_BND, ahead_NN)
        embedded_BD: torch.Tensor = self.ln_final(states_BND[:, -1]) @ self.text_projection
        return embedded_BD


class Transformer(nn.Module):
    """CLIP's pre-norm blocks. `hidden_NN` is true where a token (row) must not look."""

    def __init__(self, width: int, layers: int, head_width: int) -> None:
        super().__init__()
        heads = width // head_width
        self.resblocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])

    def forward(
        self, states_BND: torch.Tensor, hidden_NN: torch.Tensor | None = None
    ) -> torch.Tensor:
        for block in self.resblocks:
            states_BND = block(states_BND, hidden_NN)
        return states_BND


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, states_BND: torch.Tensor, hidden_NN: torch.Tensor | None) -> torch.Tensor:
        normed = self.ln_1(states_BND)
        attended, _ = self.attn(normed, normed, normed, need_weights=False, attn_mask=hidden_NN)
        states_BND = states_BND + attended
        inner = self.mlp["c_fc"](self.ln_2(states_BND))
        # The quick form of GELU that CLIP was trained with.
        moved: torch.Tensor = self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))
        return states_BND + moved
