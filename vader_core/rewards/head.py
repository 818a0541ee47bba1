"""A head: linear layers from an image embedding to one number, as the published reward heads have them.

A head lies beside the model that makes its embeddings as two files, NAME.json (the fields of
`HeadConfig`) and NAME.safetensors (`layers.I.weight` and `layers.I.bias`, I counted from 0). The
published heads have dropout between their layers, which does nothing once they are trained.

Letters: N images, D the embedding's width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

_ACTIVATIONS = {"none": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class HeadConfig:
    """Widths from the embedding's to 1; the activations between the layers and after the last."""

    widths: Sequence[int]
    between: str = "none"
    output: str = "none"

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or self.widths[-1] != 1:
            raise ValueError(f"the widths of a head end in 1, not {list(self.widths)}")
        for name in (self.between, self.output):
            if name not in _ACTIVATIONS:
                raise ValueError(f"the activation {name!r} is none of {', '.join(_ACTIVATIONS)}")


class Head(nn.Module):
    """One number for each embedding."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        pairs = zip(config.widths[:-1], config.widths[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(old, new) for old, new in pairs)
        self.between = _ACTIVATIONS[config.between]()
        self.output = _ACTIVATIONS[config.output]()

    def forward(self, embedding_ND: torch.Tensor) -> torch.Tensor:
        """Scores (N,)."""
        hidden_ND = self.layers[0](embedding_ND)
        for layer in self.layers[1:]:
            hidden_ND = layer(self.between(hidden_ND))
        score_N: torch.Tensor = self.output(hidden_ND).squeeze(-1)
        return score_N

    def save_pretrained(self, folder: str | Path, name: str = "head") -> None:
        """Writes NAME.json and NAME.safetensors into a folder, making it where it is missing."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        fields = json.dumps(asdict(self.config), indent=2)
        (target / f"{name}.json").write_text(fields + "\n", encoding="utf-8")
        state = {key: value.contiguous() for key, value in self.state_dict().items()}
        save_file(state, target / f"{name}.safetensors")

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str = "head") -> Head:
        """Loads a head written by `save_pretrained`, in float32 and evaluation mode.

        Raises `ValueError`, `TypeError`, `KeyError` or `RuntimeError` for files of another layout.
        """
        fields = json.loads(Path(folder, f"{name}.json").read_text(encoding="utf-8"))
        head = cls(HeadConfig(**fields))
        state = load_file(Path(folder, f"{name}.safetensors"))
        head.load_state_dict({key: value.float() for key, value in state.items()})
        return head.eval()
