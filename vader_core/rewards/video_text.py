"""Video-text similarity: the cosine of a whole video's and its prompt's embedding, by X-CLIP or ViCLIP.

Unlike rewards of single frames it sees what changes over time, if only on 8 or so frames that are
evenly spaced over the video.

X-CLIP (arXiv 2208.02816; transformers' XCLIPModel) compares its video embedding, the mean over time of
the frames' embeddings after they have exchanged messages, with a prompt embedding to which a prompt
generator has added what it sees in this video's patches: a video is compared with the prompt as read
beside it, and the gradient goes through both. ViCLIP (`vader_core.rewards.viclip`) compares two
embeddings that know nothing of each other. Which one a folder holds is in its config.json.

Letters: B videos, F frames, C channels, H and W sizes, N frames of all videos, P patches, D features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import JsonValue
from torch.nn.functional import cosine_similarity
from transformers import CLIPTokenizer, XCLIPModel

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.clips import spread
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.rewards.viclip import ViClipModel
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder

_EXPECTED = (
    "an XCLIPModel folder or a ViCLIP folder as `python -m vader_core convert viclip` makes it: "
    "config.json, model.safetensors, preprocessor_config.json and tokenizer files"
)


class VideoText:
    """Cosine of video and prompt, in [-1, 1]."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._embedder = _embedder(folder, compute)
        needs = ["preprocessor_config.json", "tokenizer_config.json"]
        with reading(folder, needs=needs, expected=_EXPECTED):
            self._preprocess = Preprocessing.read(folder)
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self._compute = compute
        self._texts: dict[str, torch.Tensor] = {}

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,). The model sees its own number of frames, evenly spaced over those given.

        Raises `ValueError` for a single frame.
        """
        if frames_BFCHW.shape[1] < 2:
            raise ValueError(f"{self.row.id} looks at movement: it needs at least 2 frames")
        clips_BFCHW = spread(frames_BFCHW, self._embedder.frames).to(self._compute.precise_dtype)
        pixels_NCHW = self._preprocess(clips_BFCHW.flatten(0, 1))
        pixels_BFCHW = torch.unflatten(pixels_NCHW, 0, clips_BFCHW.shape[:2])
        text_BD = torch.stack([self._text(prompt.prompt) for prompt in prompts])
        return cosine_similarity(*self._embedder.pair(pixels_BFCHW, text_BD))

    def _text(self, text: str) -> torch.Tensor:
        """The prompt's own embedding (D,); each text is embedded once, unpadded."""
        if text not in self._texts:
            context = self._embedder.context
            tokens = self._tokenizer(
                [text], truncation=True, max_length=context, return_tensors="pt"
            )
            with torch.no_grad():
                ids_1N = tokens["input_ids"].to(self._compute.device)
                self._texts[text] = self._embedder.text(ids_1N)[0]
        return self._texts[text]


class _Embedder(Protocol):
    frames: int
    context: int

    def text(self, ids_BN: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, D) of texts alone."""
        ...

    def pair(
        self, pixels_BFCHW: torch.Tensor, text_BD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The two embeddings (B, D) to compare."""
        ...


def _embedder(folder: Path, compute: Compute) -> _Embedder:
    """The model of the folder, by its config's model type. Raises `WeightsUnreadable`."""
    with reading(folder, needs=["config.json"], expected=_EXPECTED):
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind == "xclip":
        return _XClip(_load(XCLIPModel, folder, compute))
    if kind == "viclip":
        return _ViClip(_load(ViClipModel, folder, compute))
    raise WeightsUnreadable(
        f"The model in {folder} is of type {kind!r}, which is no video-text model known here.",
        hint=f"Expected {_EXPECTED}.",
    )


def _load(model_class: Any, folder: Path, compute: Compute) -> Any:
    model = load_model(model_class, folder, dtype=compute.precise_dtype, expected=_EXPECTED)
    return model.to(compute.device)


class _XClip:
    def __init__(self, model: Any) -> None:
        self._model = model
        self.frames: int = model.config.vision_config.num_frames
        self.context: int = model.config.text_config.max_position_embeddings

    def text(self, ids_BN: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self._model.text_projection(
            self._model.text_model(input_ids=ids_BN).pooler_output
        )
        return embedded

    def pair(
        self, pixels_BFCHW: torch.Tensor, text_BD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        model = self._model
        seen = model.vision_model(pixel_values=pixels_BFCHW.flatten(0, 1))
        frames_ND = model.visual_projection(seen.pooler_output)
        video_BD = model.mit(torch.unflatten(frames_ND, 0, (-1, self.frames))).pooler_output
        patches_NPD = model.prompts_visual_layernorm(seen.last_hidden_state[:, 1:])
        patches_NPD = patches_NPD @ model.prompts_visual_projection
        patches_BPD = torch.unflatten(patches_NPD, 0, (-1, self.frames)).mean(1)
        added_B1D = model.prompts_generator(text_BD[:, None], patches_BPD)
        return video_BD, text_BD + added_B1D[:, 0]


class _ViClip:
    def __init__(self, model: Any) -> None:
        self._model = model
        self.frames: int = model.config.num_frames
        self.context: int = model.config.context_length

    def text(self, ids_BN: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self._model.text_encoder(ids_BN)
        return embedded

    def pair(
        self, pixels_BFCHW: torch.Tensor, text_BD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._model.vision_encoder(pixels_BFCHW), text_BD
