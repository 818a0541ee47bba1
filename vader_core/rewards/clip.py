"""Rewards that compare single frames with the prompt by a CLIP model.

Letters: B videos, F frames, N images, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPModel

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt
from vader_core.tiny.preference import CONFIG, WEIGHTS, PreferenceHead
from vader_core.weights import load_model, reading, required_folder

_EXPECTED = "a CLIPModel folder: config.json, model.safetensors, preprocessor_config.json and tokenizer files"


class ClipEmbedder:
    """A frozen CLIP model's normalised embeddings of frames and prompts."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self._model = load_model(
            CLIPModel, folder, dtype=compute.precise_dtype, expected=_EXPECTED
        ).to(compute.device)
        needs = ["preprocessor_config.json", "tokenizer_config.json"]
        with reading(folder, needs=needs, expected=_EXPECTED):
            self._preprocess = Preprocessing.read(folder)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._texts: dict[str, torch.Tensor] = {}

    def frames(self, frames_BFCHW: torch.Tensor) -> torch.Tensor:
        """Unit embeddings (B, F, D), differentiable in the frames."""
        pixels_NCHW = self._preprocess(frames_BFCHW.flatten(0, 1).to(self._model.dtype))
        outputs = self._model.vision_model(pixel_values=pixels_NCHW)
        image_ND = self._model.visual_projection(outputs.pooler_output)
        return torch.unflatten(normalize(image_ND, dim=-1), 0, frames_BFCHW.shape[:2])

    def prompts(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Unit embeddings (B, D); each text is embedded once."""
        return torch.stack([self._text(prompt.prompt) for prompt in prompts])

    def _text(self, text: str) -> torch.Tensor:
        if text not in self._texts:
            tokens = self._tokenizer(
                [text],
                padding="max_length",
                truncation=True,
                max_length=self._model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self._model.device)
            with torch.no_grad():
                outputs = self._model.text_model(**tokens)
                text_1D = self._model.text_projection(outputs.pooler_output)
            self._texts[text] = normalize(text_1D[0], dim=-1)
        return self._texts[text]


class TextMatch:
    """Cosine of frame and prompt, in [-1, 1], mean over the frames."""

    def __init__(self, row: RewardRow, compute: Compute) -> None:
        self.row = row
        self._embedder = ClipEmbedder(required_folder(row.folder, row.id), compute)

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        image_BFD = self._embedder.frames(frames_BFCHW)
        text_BD = self._embedder.prompts(prompts)
        return (image_BFD * text_BD[:, None]).sum(-1).mean(1)


class Preference:
    """A head's score of frame and prompt embeddings, unbounded, mean over the frames."""

    def __init__(self, row: RewardRow, compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._embedder = ClipEmbedder(folder, compute)
        with reading(folder, needs=[CONFIG, WEIGHTS], expected=f"{CONFIG} and {WEIGHTS}"):
            head = PreferenceHead.from_pretrained(folder)
        self._head = head.to(compute.device, compute.precise_dtype).requires_grad_(
            requires_grad=False
        )

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        image_BFD = self._embedder.frames(frames_BFCHW)
        text_BFD = self._embedder.prompts(prompts)[:, None].expand_as(image_BFD)
        score_N: torch.Tensor = self._head(image_BFD.flatten(0, 1), text_BFD.flatten(0, 1))
        return torch.unflatten(score_N, 0, image_BFD.shape[:2]).mean(1)
