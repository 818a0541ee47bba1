"""ImageReward: a human preference score of image and text by BLIP with a head (arXiv 2304.05977).

The prompt's tokens attend to the image in every layer of BLIP's text encoder; the head turns the first
token's state into a number x, and the score is (x - mean) / std with the mean and standard deviation
that were measured when it was trained, which the catalogue's `options` give. Facts: ImageReward/
ImageReward.py and models/BLIP of github.com/THUDM/ImageReward. Its folder holds two models of
transformers, `vision_model` and `text_encoder`, the head as `Head` writes it, preprocessor_config.json
and the tokenizer's files: `python -m vader_core convert image_reward` makes it of the published file.

Deviation: the centre crop rounds half pixels down as the image processors of transformers do, the
published transform to the even number: frames may differ by a shift of one pixel.

Letters: B videos, F frames, N images, T tokens, D width of the text encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue
from transformers import AutoTokenizer, BlipTextModel, BlipVisionModel

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.rewards.clip import read_preprocessing
from vader_core.rewards.head import Head
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder

VISION, TEXT = "vision_model", "text_encoder"
# Longer prompts are cut: the published model was trained so.
_TOKENS = 35
_EXPECTED = (
    f"an ImageReward folder: {VISION}, {TEXT}, head.json, head.safetensors, preprocessor_config.json "
    "and tokenizer files"
)


class TextEncoder(BlipTextModel):  # type: ignore[misc]  # transformers is untyped here
    """BLIP's text encoder without the pooler, which ImageReward does not have."""

    def __init__(self, config: object) -> None:
        super().__init__(config, add_pooling_layer=False)


class ImageReward:
    """The score of a frame for the prompt, unbounded, mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._preprocess = read_preprocessing(folder, params)
        self._vision, self._text = (
            load_model(
                kind, folder, subfolder=name, dtype=compute.precise_dtype, expected=_EXPECTED
            ).to(compute.device)
            for kind, name in ((BlipVisionModel, VISION), (TextEncoder, TEXT))
        )
        needs = ["tokenizer_config.json", "head.json", "head.safetensors"]
        with reading(folder, needs=needs, expected=_EXPECTED):
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            head = Head.from_pretrained(folder)
        self._head = head.to(compute.device, compute.precise_dtype).requires_grad_(
            requires_grad=False
        )
        self._mean, self._std = (float(str(row.options[name])) for name in ("mean", "std"))

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,), each video with its own prompt."""
        tokens = self._tokenizer(
            [prompt.prompt for prompt in prompts],
            padding="max_length",
            truncation=True,
            max_length=_TOKENS,
            return_tensors="pt",
        ).to(self._text.device)
        frames = frames_BFCHW.shape[1]
        pixels_NCHW = self._preprocess(frames_BFCHW.flatten(0, 1).to(self._vision.dtype))
        state_NTD = self._text(
            input_ids=tokens["input_ids"].repeat_interleave(frames, 0),
            attention_mask=tokens["attention_mask"].repeat_interleave(frames, 0),
            encoder_hidden_states=self._vision(pixel_values=pixels_NCHW).last_hidden_state,
        ).last_hidden_state
        score_N = (self._head(state_NTD[:, 0]) - self._mean) / self._std
        return torch.unflatten(score_N, 0, frames_BFCHW.shape[:2]).mean(1)
