"""MPS, the multi-dimensional preference score: CLIP ViT-H/14 with cross-attention to the prompt (CVPR 2024).

Facts: trainer/models/clip_model.py and eval_overall_mps_on_hpdv2.py of github.com/Kwai-Kolors/MPS. The
projected tokens of the image attend to the projected tokens of the prompt; the score is the cosine of
the first image token with the prompt's embedding times exp(logit_scale). A condition, the list of
words of what is judged, decides which tokens of the prompt are seen: those whose greatest product with
a token of the condition is more than a threshold times the greatest one of all. The authors use 0.3 in
their evaluation and 0.01 in the model's own forward; the catalogue's `options` give condition and
threshold.

Deviation: the greatest product is that of the prompt itself. The published code takes it over the whole
batch, so that there a score depends on its neighbours.

Letters: B videos, F frames, N images, I image tokens, T prompt tokens, K condition tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from pydantic import JsonValue
from torch.nn.functional import cosine_similarity
from transformers import AutoTokenizer, CLIPModel

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.rewards.clip import read_preprocessing
from vader_core.rewards.mps_layers import CONFIG, WEIGHTS, CrossAttention
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder

_EXPECTED = (
    f"an MPS folder: a CLIPModel with its tokenizer and preprocessor_config.json, {CONFIG} and "
    f"{WEIGHTS}"
)


class _Text(NamedTuple):
    """A prompt: its tokens (T, D), its embedding (D,), and which tokens are seen (T,)."""

    token_TD: torch.Tensor
    embedding_D: torch.Tensor
    visible_T: torch.Tensor


class Mps:
    """The preference score of a frame for the prompt, mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._preprocess = read_preprocessing(folder, params)
        self._clip = load_model(
            CLIPModel, folder, dtype=compute.precise_dtype, expected=_EXPECTED
        ).to(compute.device)
        with reading(folder, needs=["tokenizer_config.json", CONFIG, WEIGHTS], expected=_EXPECTED):
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            cross = CrossAttention.from_pretrained(folder)
        self._cross = cross.to(compute.device, compute.precise_dtype).requires_grad_(
            requires_grad=False
        )
        self._condition_KD, _ = self._encode(str(row.options["condition"]))
        self._threshold = float(str(row.options["threshold"]))
        self._texts: dict[str, _Text] = {}

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,), each video with its own prompt."""
        frames = frames_BFCHW.shape[1]
        texts = [text for prompt in prompts for text in [self._text(prompt.prompt)] * frames]
        token_NTD, embedding_ND, visible_NT = (
            torch.stack(part) for part in zip(*texts, strict=True)
        )
        pixels_NCHW = self._preprocess(frames_BFCHW.flatten(0, 1).to(self._clip.dtype))
        state_NID = self._clip.vision_model(pixel_values=pixels_NCHW).last_hidden_state
        image_NID = self._clip.visual_projection(state_NID)
        seen_ND = self._cross(image_NID, token_NTD, visible_NT)[:, 0]
        score_N = self._clip.logit_scale.exp() * cosine_similarity(seen_ND, embedding_ND)
        return torch.unflatten(score_N, 0, frames_BFCHW.shape[:2]).mean(1)

    def _text(self, text: str) -> _Text:
        """The prompt, encoded once."""
        if text not in self._texts:
            token_TD, embedding_D = self._encode(text)
            relevance_T = (token_TD @ self._condition_KD.T).amax(1)
            visible_T = relevance_T / relevance_T.amax() > self._threshold
            self._texts[text] = _Text(token_TD, embedding_D, visible_T)
        return self._texts[text]

    @torch.no_grad()
    def _encode(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        # Without an attention mask, as published: the padding's tokens count like words.
        tokens = self._tokenizer(
            [text],
            padding="max_length",
            truncation=True,
            max_length=self._clip.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._clip.device)
        outputs = self._clip.text_model(input_ids=tokens["input_ids"])
        token_1TD = self._clip.text_projection(outputs.last_hidden_state)
        return token_1TD[0], self._clip.text_projection(outputs.pooler_output)[0]
