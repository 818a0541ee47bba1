"""The cross-attention of MPS: image tokens look at the prompt's tokens, four times over.

Facts: trainer/models/cross_modeling.py of github.com/Kwai-Kolors/MPS. Every layer is two blocks with a
residual connection: attention of the image's tokens to the prompt's, then attention among the image's
tokens with rotary positions (arXiv 2104.09864). In both, the heads share one key and one value
(arXiv 1911.02150), a gated feed-forward (arXiv 2002.05202) stands beside the attention on the same
normalised input, and no layer has a bias.

Letters: N images, I image tokens, T prompt tokens, D width, H heads, E width of a head.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

CONFIG, WEIGHTS = "cross_attention.json", "cross_attention.safetensors"
_ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class CrossAttentionConfig:
    """The published sizes are the defaults."""

    width: int = 1024
    layers: int = 4
    heads: int = 16
    head_width: int = 64
    expansion: int = 4


class CrossAttention(nn.Module):
    """All layers: image tokens that have looked at the prompt's tokens."""

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.to_prompt = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.to_image = nn.ModuleList(_Block(config) for _ in range(config.layers))

    def forward(
        self, image_NID: torch.Tensor, prompt_NTD: torch.Tensor, visible_NT: torch.Tensor
    ) -> torch.Tensor:
        """`visible_NT` is False for prompt tokens that must not be looked at. Returns (N, I, D)."""
        for to_prompt, to_image in zip(self.to_prompt, self.to_image, strict=True):
            image_NID = to_prompt(image_NID, prompt_NTD, visible_NT)
            image_NID = to_image(image_NID)
        return image_NID

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes cross_attention.json and cross_attention.safetensors beside a CLIP model."""
        target = Path(folder)
        fields = json.dumps(asdict(self.config), indent=2)
        (target / CONFIG).write_text(fields + "\n", encoding="utf-8")
        state = {key: value.contiguous() for key, value in self.state_dict().items()}
        save_file(state, target / WEIGHTS)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> CrossAttention:
        """Loads what `save_pretrained` wrote, in float32 and evaluation mode."""
        fields = json.loads(Path(folder, CONFIG).read_text(encoding="utf-8"))
        model = cls(CrossAttentionConfig(**fields))
        state = load_file(Path(folder, WEIGHTS))
        model.load_state_dict({key: value.float() for key, value in state.items()})
        return model.eval()


class _Block(nn.Module):
    """One attention and one feed-forward beside it; without a context the tokens attend to themselves."""

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        self._heads, self._head_width = config.heads, config.head_width
        inner, hidden = config.heads * config.head_width, config.expansion * config.width
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.query = nn.Linear(config.width, inner, bias=False)
        self.key_value = nn.Linear(config.width, 2 * config.head_width, bias=False)
        self.attention_out = nn.Linear(inner, config.width, bias=False)
        self.feed_in = nn.Linear(config.width, 2 * hidden, bias=False)
        self.feed_out = nn.Linear(hidden, config.width, bias=False)

    def forward(
        self,
        token_NID: torch.Tensor,
        context_NTD: torch.Tensor | None = None,
        visible_NT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        normed_NID = self.norm(token_NID)
        query_NHIE = torch.unflatten(self.query(normed_NID), -1, (self._heads, -1)).transpose(1, 2)
        source_NTD = normed_NID if context_NTD is None else context_NTD
        key_NTE, value_NTE = self.key_value(source_NTD).chunk(2, -1)
        if context_NTD is None:
            query_NHIE, key_NTE = _rotate(query_NHIE), _rotate(key_NTE)
        attended_NHIE = scaled_dot_product_attention(
            query_NHIE,
            key_NTE[:, None].expand(-1, self._heads, -1, -1),
            value_NTE[:, None].expand(-1, self._heads, -1, -1),
            attn_mask=None if visible_NT is None else visible_NT[:, None, None],
        )
        attended_NID: torch.Tensor = self.attention_out(attended_NHIE.transpose(1, 2).flatten(-2))
        value_NID, gate_NID = self.feed_in(normed_NID).chunk(2, -1)
        fed_NID: torch.Tensor = self.feed_out(silu(gate_NID) * value_NID)
        return token_NID + (attended_NID + fed_NID)


def _rotate(tokens: torch.Tensor) -> torch.Tensor:
    """Rotary positions along the last axis but one; the halves of a head form the rotated pairs."""
    places, width = tokens.shape[-2:]
    half = torch.arange(0, width, 2, dtype=torch.float32, device=tokens.device) / width
    angle = torch.arange(places, device=tokens.device)[:, None] / _ROTARY_BASE**half
    cos, sin = (torch.cat([wave, wave], -1).to(tokens) for wave in (angle.cos(), angle.sin()))
    first, second = tokens.chunk(2, -1)
    return tokens * cos + torch.cat([-second, first], -1) * sin
