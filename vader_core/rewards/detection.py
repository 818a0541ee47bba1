"""Detection rewards: whether a detector sees a named object in the frames, wanted or unwanted.

VADER removes objects by 1 minus the confidence of a YOLOS detector (arXiv 2407.08737, section 4.2).
Its code averages the boxes above a threshold: no box, no gradient, and the other frames' scores are
lost. Here the score of a frame is a smooth maximum over all queries q of the object's log odds l_q,

    detection = sigmoid(1/k * log sum_q exp(k * l_q)),   k = 4,

which always has a gradient, the more so for the queries nearest to a detection. It lies in [0, 1], is
never below the confidence of the best query and equals it where that query stands alone; its odds are
at most Q ** (1/k) times those of the best, so scores further apart than that keep the order of the
best queries. Object presence is the detection, object removal is 1 - detection. Both are flat where the
detector is sure of the opposite; the logarithm is not, which is what their rows train (log_score).

YOLOS (arXiv 2106.00666) gives each query a softmax over its labels and "no object"; Grounding DINO
(arXiv 2303.05499) a sigmoid per token of the text, so that each token of the object's name counts as
a query. Grounding DINO cuts the gradient at its boxes by its own design.

Letters: N frames of all videos, B videos, F frames, C channels, H and W sizes, Q queries, T tokens,
L labels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import JsonValue
from transformers import (
    AutoTokenizer,
    GroundingDinoForObjectDetection,
    YolosForObjectDetection,
)

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable, WeightsUnreadable
from vader_core.rewards.grounding_dino import make_repeatable
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder

_SHARPNESS = 4.0
_EXPECTED = (
    "a YolosForObjectDetection or GroundingDinoForObjectDetection folder: config.json, "
    "model.safetensors, preprocessor_config.json and, for Grounding DINO, tokenizer files"
)


class ObjectPresence:
    """How surely the object named by the param `object` is seen, in [0, 1], mean over the frames."""

    _sign = 1

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._detector = _detector(folder, str(params["object"]), compute)
        self._dtype = compute.precise_dtype

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,); the prompts do not matter."""
        del prompts
        log_odds_NQ = self._detector.log_odds(frames_BFCHW.flatten(0, 1).to(self._dtype))
        best_N = (_SHARPNESS * log_odds_NQ).logsumexp(1) / _SHARPNESS
        # The sign goes inside: 1 - sigmoid(x) would round to 0 for a sure detection.
        score_N = (self._sign * best_N).sigmoid()
        return torch.unflatten(score_N, 0, frames_BFCHW.shape[:2]).mean(1)


class ObjectRemoval(ObjectPresence):
    """How surely the object named by the param `object` is not seen: 1 - presence in every frame."""

    _sign = -1


class _Detector(Protocol):
    def log_odds(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        """Log odds (N, Q) of the object, for every query of every frame."""
        ...


def _detector(folder: Path, name: str, compute: Compute) -> _Detector:
    """The detector of the folder, by its config's model type. Raises `WeightsUnreadable`."""
    with reading(folder, needs=["config.json"], expected=_EXPECTED):
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind == "yolos":
        return _Yolos(folder, name, compute)
    if kind == "grounding-dino":
        return _GroundingDino(folder, name, compute)
    raise WeightsUnreadable(
        f"The model in {folder} is of type {kind!r}, which is no detector known here.",
        hint=f"Expected {_EXPECTED}.",
    )


class _Yolos:
    """A YOLOS detector, which knows a fixed list of objects."""

    # Its processor rounds both edges down to whole patches of 16 pixels, whatever the model's own.
    _MULTIPLE = 16

    def __init__(self, folder: Path, name: str, compute: Compute) -> None:
        self._model = _load(YolosForObjectDetection, folder, compute)
        labels = self._model.config.id2label
        if name not in labels.values():
            known = sorted(set(labels.values()) - {"N/A"})
            raise SpecUnusable(
                f"The detector in {folder} does not know the object {name!r}.",
                hint=f"It knows: {', '.join(known)}.",
            )
        self._label = next(int(index) for index, label in labels.items() if label == name)
        self._preprocess = _Preprocessing(folder, self._MULTIPLE)

    def log_odds(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        logits_NQL = self._model(pixel_values=self._preprocess(frames_NCHW)).logits
        others = [i for i in range(logits_NQL.shape[-1]) if i != self._label]
        log_odds_NQ: torch.Tensor = logits_NQL[..., self._label] - logits_NQL[
            ..., others
        ].logsumexp(-1)
        return log_odds_NQ


class _GroundingDino:
    """A Grounding DINO detector, which looks for any text."""

    def __init__(self, folder: Path, name: str, compute: Compute) -> None:
        self._model = _load(GroundingDinoForObjectDetection, folder, compute)
        make_repeatable(self._model)
        with reading(folder, needs=["tokenizer_config.json"], expected=_EXPECTED):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # The published processor's form of a label: lower case, closed by a full stop.
        text = f"{name.strip().rstrip('.').lower()}."
        self._tokens = tokenizer([text], return_tensors="pt").to(self._model.device)
        delimiters = self._model.model.special_tokens
        is_name_T = ~torch.isin(self._tokens["input_ids"][0], delimiters)
        self._places = is_name_T.nonzero().flatten()
        self._preprocess = _Preprocessing(folder, multiple=1)

    def log_odds(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        pixels_NCHW = self._preprocess(frames_NCHW)
        count = len(pixels_NCHW)
        tokens = {key: value.expand(count, -1) for key, value in self._tokens.items()}
        logits_NQT = self._model(pixel_values=pixels_NCHW, **tokens).logits
        log_odds_NQ: torch.Tensor = logits_NQT[..., self._places].flatten(1)
        return log_odds_NQ


def _load(model_class: Any, folder: Path, compute: Compute) -> Any:
    model = load_model(model_class, folder, dtype=compute.precise_dtype, expected=_EXPECTED)
    return model.to(compute.device)


class _Preprocessing:
    """The detectors' image processing: edges resized within bounds, then normalised."""

    def __init__(self, folder: Path, multiple: int) -> None:
        with reading(folder, needs=["preprocessor_config.json"], expected=_EXPECTED):
            self._base = Preprocessing.read(folder)
            text = (folder / "preprocessor_config.json").read_text(encoding="utf-8")
            self._bounds = _bounds(json.loads(text)["size"])
        self._multiple = multiple

    def __call__(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        height, width = frames_NCHW.shape[-2:]
        size = detector_size((height, width), self._bounds, self._multiple)
        return dataclasses.replace(self._base, size=size)(frames_NCHW)


def _bounds(size: Mapping[str, int]) -> tuple[int, int]:
    return int(size["shortest_edge"]), int(size["longest_edge"])


def detector_size(size: tuple[int, int], bounds: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The (height, width) to which detectors of the DETR family resize.

    The shorter edge becomes `bounds[0]`, or less where the longer would pass `bounds[1]`; then both
    are rounded down to a `multiple`. The roundings are those of the published processors.
    """
    shorter, longer = min(size), max(size)
    exact: float = bounds[0]
    if longer / shorter * bounds[0] > bounds[1]:
        exact = bounds[1] * shorter / longer
    short = round(exact)
    long = longer if short == shorter else int(exact * longer / shorter)
    short, long = short - short % multiple, long - long % multiple
    return (short, long) if size[0] <= size[1] else (long, short)
