"""The action reward: how sure a VideoMAE classifier is of each prompt's target label.

VADER's action reward (arXiv 2407.08737, sections 4.2 and 5) is this probability; its code trains by
cross-entropy, as a catalogue row does whose `objective` is log_score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import VideoMAEForVideoClassification

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder

_EXPECTED = "a VideoMAEForVideoClassification folder: config.json, model.safetensors and preprocessor_config.json"


class Action:
    """Probability of the prompt's target, in [0, 1]."""

    def __init__(self, row: RewardRow, compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._model = load_model(
            VideoMAEForVideoClassification,
            folder,
            dtype=compute.precise_dtype,
            expected=_EXPECTED,
        ).to(compute.device)
        with reading(folder, needs=["preprocessor_config.json"], expected=_EXPECTED):
            self._preprocess = Preprocessing.read(folder)
        self._labels: dict[str, int] = dict(self._model.config.label2id)
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
        count = self._model.config.num_frames
        last = frames_BFCHW.shape[1] - 1
        chosen = torch.linspace(0, last, count).round().long().to(frames_BFCHW.device)
        frames_BFCHW = frames_BFCHW[:, chosen].to(self._model.dtype)
        pixels_NCHW = self._preprocess(frames_BFCHW.flatten(0, 1))
        pixels_BFCHW = torch.unflatten(pixels_NCHW, 0, (-1, count))
        logits_BL = self._model(pixel_values=pixels_BFCHW).logits
        probability_B: torch.Tensor = logits_BL.softmax(-1)[torch.arange(len(targets)), targets]
        return probability_B

    def _label(self, prompt: Prompt) -> int:
        if prompt.target not in self._labels:
            raise ValueError(
                f"{self.row.id} needs a target of {', '.join(sorted(self._labels))}; "
                f"{prompt.prompt!r} has {prompt.target!r}"
            )
        return self._labels[prompt.target]
