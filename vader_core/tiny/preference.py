"""The preference head: a small MLP over a CLIP image embedding and a CLIP text embedding."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

WEIGHTS, CONFIG = "preference_head.safetensors", "preference_head.json"


class PreferenceHead(nn.Module):
    """A scalar per (image, prompt), trained by the Bradley-Terry model: higher is preferred."""

    def __init__(self, *, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.embed_dim, self.hidden_dim = embed_dim, hidden_dim
        # Image embedding, text embedding and their product: the product carries the match.
        self.layers = nn.Sequential(
            nn.Linear(3 * embed_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, 1),
        )

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of L2-normalised embeddings; each is scaled to unit variance inside."""
        scale = self.embed_dim**0.5
        image_BD, text_BD = image_BD * scale, text_BD * scale
        joined = torch.cat([image_BD, text_BD, image_BD * text_BD], -1)
        score_B: torch.Tensor = self.layers(joined).squeeze(-1)
        return score_B

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes preference_head.safetensors and preference_head.json into a CLIP folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        fields = {"embed_dim": self.embed_dim, "hidden_dim": self.hidden_dim}
        (target / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        save_file(self.state_dict(), target / WEIGHTS)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> PreferenceHead:
        """Loads a head written by `save_pretrained`, in float32 and evaluation mode."""
        fields = json.loads(Path(folder, CONFIG).read_text(encoding="utf-8"))
        head = cls(embed_dim=fields["embed_dim"], hidden_dim=fields["hidden_dim"])
        state = {key: value.float() for key, value in load_file(Path(folder, WEIGHTS)).items()}
        head.load_state_dict(state)
        return head.eval()
