"""Rewards that compare single frames with the prompt by a CLIP model: CLIP score, HPS v2, PickScore.

All three are the cosine of the frame's and the prompt's embedding. They differ in their weights, their
preprocessing, which lies with the weights, and their scale, which the catalogue's `options` give:

    {"scale": "cosine"}  the cosine itself: HPS v2 (github.com/tgxs002/HPSv2, hpsv2/img_score.py)
    {"scale": "logit"}   times the model's own exp(logit_scale): PickScore (github.com/yuvalkirstain/PickScore)

The param `fit` says how frames of another shape reach the model's size: "own" is the model's own image
processor, "stretch" distorts them to it, as VADER does for HPS (VADER resizes to 224x224).

Letters: B videos, F frames, N images, D embedding width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPModel, CLIPVisionModelWithProjection

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt
from vader_core.tiny.preference import CONFIG, WEIGHTS, PreferenceHead
from vader_core.weights import load_model, reading, required_folder

_EXPECTED = "a CLIPModel folder: config.json, model.safetensors, preprocessor_config.json and tokenizer files"
_EXPECTED_VISION = (
    "a CLIPModel or CLIPVisionModelWithProjection folder: config.json, model.safetensors and "
    "preprocessor_config.json"
)


def read_preprocessing(folder: Path, params: Mapping[str, JsonValue]) -> Preprocessing:
    """The folder's own preprocessing, or its stretching form where the params ask for that."""
    with reading(folder, needs=["preprocessor_config.json"], expected=_EXPECTED_VISION):
        own = Preprocessing.read(folder)
        return own.stretched() if params.get("fit") == "stretch" else own


def load_vision(folder: Path, compute: Compute) -> Any:
    """A frozen CLIP model that has at least a vision half."""
    with reading(folder, needs=["config.json"], expected=_EXPECTED_VISION):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        whole = config["model_type"] == "clip"
    model_class = CLIPModel if whole else CLIPVisionModelWithProjection
    return load_model(model_class, folder, dtype=compute.precise_dtype, expected=_EXPECTED_VISION)


class FrameEmbedder:
    """The vision half of a frozen CLIP model: normalised embeddings of frames."""

    def __init__(self, model: Any, preprocess: Preprocessing, compute: Compute) -> None:
        self._vision = model.vision_model.to(compute.device)
        self._projection = model.visual_projection.to(compute.device)
        self._preprocess = preprocess
        self._dtype = compute.precise_dtype

    def __call__(self, frames_BFCHW: torch.Tensor) -> torch.Tensor:
        """Unit embeddings (B, F, D), differentiable in the frames."""
        pixels_NCHW = self._preprocess(frames_BFCHW.flatten(0, 1).to(self._dtype))
        pooled_ND = self._vision(pixel_values=pixels_NCHW).pooler_output
        image_ND = normalize(self._projection(pooled_ND), dim=-1)
        return torch.unflatten(image_ND, 0, frames_BFCHW.shape[:2])


class PromptEmbedder:
    """The text half of a frozen CLIP model: normalised embeddings of prompts."""

    def __init__(self, model: Any, folder: Path, compute: Compute) -> None:
        self._text_model = model.text_model.to(compute.device)
        self._projection = model.text_projection.to(compute.device)
        self._context = model.config.text_config.max_position_embeddings
        with reading(folder, needs=["tokenizer_config.json"], expected=_EXPECTED):
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._texts: dict[str, torch.Tensor] = {}

    def __call__(self, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Unit embeddings (B, D); each text is embedded once."""
        return torch.stack([self._text(prompt.prompt) for prompt in prompts])

    def _text(self, text: str) -> torch.Tensor:
        if text not in self._texts:
            tokens = self._tokenizer(
                [text],
                padding="max_length",
                truncation=True,
                max_length=self._context,
                return_tensors="pt",
            ).to(self._text_model.device)
            with torch.no_grad():
                pooled_1D = self._text_model(**tokens).pooler_output
                text_D = normalize(self._projection(pooled_1D)[0], dim=-1)
            self._texts[text] = text_D
        return self._texts[text]


class ClipSimilarity:
    """Cosine of frame and prompt, in [-1, 1], or the model's logit; mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        preprocess = read_preprocessing(folder, params)
        model = _load_clip(folder, compute)
        self._frames = FrameEmbedder(model, preprocess, compute)
        self._prompts = PromptEmbedder(model, folder, compute)
        by_logit = row.options.get("scale", "cosine") == "logit"
        self._scale = float(model.logit_scale.exp()) if by_logit else 1.0

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        image_BFD = self._frames(frames_BFCHW)
        text_BD = self._prompts(prompts)
        return self._scale * (image_BFD * text_BD[:, None]).sum(-1).mean(1)


class PreferenceHeadReward:
    """A head's score of frame and prompt embeddings, unbounded, mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        preprocess = read_preprocessing(folder, params)
        model = _load_clip(folder, compute)
        self._frames = FrameEmbedder(model, preprocess, compute)
        self._prompts = PromptEmbedder(model, folder, compute)
        with reading(folder, needs=[CONFIG, WEIGHTS], expected=f"{CONFIG} and {WEIGHTS}"):
            head = PreferenceHead.from_pretrained(folder)
        self._head = head.to(compute.device, compute.precise_dtype).requires_grad_(
            requires_grad=False
        )

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        image_BFD = self._frames(frames_BFCHW)
        text_BFD = self._prompts(prompts)[:, None].expand_as(image_BFD)
        score_N: torch.Tensor = self._head(image_BFD.flatten(0, 1), text_BFD.flatten(0, 1))
        return torch.unflatten(score_N, 0, image_BFD.shape[:2]).mean(1)


def _load_clip(folder: Path, compute: Compute) -> Any:
    return load_model(CLIPModel, folder, dtype=compute.precise_dtype, expected=_EXPECTED)
