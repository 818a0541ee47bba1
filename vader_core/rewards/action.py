"""The action reward: how sure a video classifier is of each prompt's target label.

VADER's action reward (arXiv 2407.08737, sections 4.2 and 5) is this probability by a VideoMAE that was
tuned on Kinetics-400; its code trains by cross-entropy, as a catalogue row does whose `objective` is
log_score. V-JEPA 2 classifiers (arXiv 2506.09985, section 5) serve likewise, such as those for the
hand movements of Something-Something v2. Which one a folder holds is in its config.json.

Letters: B videos, F frames, C channels, H and W sizes, N frames of all videos, L labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from transformers import VideoMAEForVideoClassification, VJEPA2ForVideoClassification

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.clips import spread
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder


@dataclass(frozen=True)
class _Classifier:
    """What differs between the model classes: names of files, of config fields and of the input."""

    model_class: Any
    preprocessing: str
    frames: str
    input: str

    @property
    def expected(self) -> str:
        return f"a {self.model_class.__name__} folder: config.json, model.safetensors and {self.preprocessing}"


_CLASSIFIERS = {
    "videomae": _Classifier(
        VideoMAEForVideoClassification, "preprocessor_config.json", "num_frames", "pixel_values"
    ),
    "vjepa2": _Classifier(
        VJEPA2ForVideoClassification,
        "video_preprocessor_config.json",
        "frames_per_clip",
        "pixel_values_videos",
    ),
}


class Action:
    """Probability of the prompt's target, in [0, 1]."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._kind = _classifier(folder)
        self._model = load_model(
            self._kind.model_class,
            folder,
            dtype=compute.precise_dtype,
            expected=self._kind.expected,
        ).to(compute.device)
        name = self._kind.preprocessing
        with reading(folder, needs=[name], expected=self._kind.expected):
            self._preprocess = Preprocessing.read(folder, name)
        labels = self._model.config.id2label
        self._labels = {label: int(index) for index, label in labels.items()}
        unknown = sorted(set(row.targets) - set(self._labels))
        if unknown:
            raise WeightsUnreadable(
                f"The classifier in {folder} does not know the labels {', '.join(unknown)}.",
                hint=f"It knows: {', '.join(sorted(self._labels))}. Correct `targets` of {row.id!r}.",
            )

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,). The model sees its own number of frames, evenly spaced over those given.

        Raises `ValueError` for a single frame, and for a prompt whose target the model does not know.
        """
        if frames_BFCHW.shape[1] < 2:
            raise ValueError(f"{self.row.id} looks at movement: it needs at least 2 frames")
        targets = [self._label(prompt) for prompt in prompts]
        count = getattr(self._model.config, self._kind.frames)
        clips_BFCHW = spread(frames_BFCHW, count).to(self._model.dtype)
        pixels_NCHW = self._preprocess(clips_BFCHW.flatten(0, 1))
        pixels_BFCHW = torch.unflatten(pixels_NCHW, 0, (-1, count))
        logits_BL = self._model(**{self._kind.input: pixels_BFCHW}).logits
        probability_B: torch.Tensor = logits_BL.softmax(-1)[torch.arange(len(targets)), targets]
        return probability_B

    def _label(self, prompt: Prompt) -> int:
        if prompt.target not in self._labels:
            raise ValueError(
                f"{self.row.id} needs a target of {', '.join(sorted(self._labels))}; "
                f"{prompt.prompt!r} has {prompt.target!r}"
            )
        return self._labels[prompt.target]


def _classifier(folder: Path) -> _Classifier:
    """The kind of the folder's model. Raises `WeightsUnreadable`."""
    expected = " or ".join(kind.expected for kind in _CLASSIFIERS.values())
    with reading(folder, needs=["config.json"], expected=expected):
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in _CLASSIFIERS:
        raise WeightsUnreadable(
            f"The model in {folder} is of type {kind!r}, which is no video classifier known here.",
            hint=f"Expected {expected}.",
        )
    return _CLASSIFIERS[kind]
