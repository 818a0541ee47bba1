"""Temporal consistency: how well V-JEPA 2 predicts the features of hidden parts of a video.

VADER's V-JEPA reward (arXiv 2407.08737, section 4.2) is minus the masked-prediction loss that V-JEPA
was trained with; it trains long videos. This is the loss of V-JEPA 2 (arXiv 2506.09985, section 2.1;
facebookresearch/vjepa2, app/vjepa/train.py and configs/train/vitl16): the encoder sees the visible
tokens only, the predictor fills in the hidden ones, and the loss is the mean absolute difference to
the features of the whole video, each normalised to mean 0 and variance 1 over its channels.

Which tokens are hidden is the param `masks`, or else the row's option of that name:

    "blocks"   those of the published training: blocks that hide the same places in all frames, 8 small
               ones or 2 large ones; drawn once from a fixed seed, two masks of each kind
    "moments"  whole frames: up to four stretches of time, each hidden in turn, so that only the
               motion before and after tells what they show

A video thus always has the same score: minus the mean loss over the masks. Published checkpoints as
converted by transformers hold one encoder, which serves both sides, and the gradient goes through both.
Every mask uses the first mask token: the training picks a token by clip length, and each run has one.

Letters: B videos, F frames, C channels, H and W pixels or places, T tubelets in time, N tokens of the
whole grid, V visible and U hidden tokens, D features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import JsonValue
from torch import nn
from torch.nn.functional import layer_norm
from torch.utils.checkpoint import checkpoint
from transformers import VJEPA2Model

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import CatalogueUnusable, WeightsUnreadable
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt
from vader_core.weights import load_model, reading, required_folder

_PREPROCESSING = "video_preprocessor_config.json"
_EXPECTED = f"a VJEPA2Model folder: config.json, model.safetensors and {_PREPROCESSING}"
_SEED = 0
_DRAWS = 2
_MASK_TOKEN = 0
# (number of blocks, share of the frame that each hides), heights over widths of a block.
_BLOCKS = ((8, 0.15), (2, 0.7))
_ASPECT_RATIOS = (0.75, 1.5)
_TRIES = 100
_STRETCHES = 4
_MASKS = ("blocks", "moments")

Masks = list[tuple[torch.Tensor, torch.Tensor]]


class VJepa:
    """Minus the masked-prediction loss, at most 0. Longer videos are scored in several windows."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        self._hides = params.get("masks", row.options.get("masks", "blocks"))
        if self._hides not in _MASKS:
            raise CatalogueUnusable(
                f"{row.id!r} cannot hide {self._hides!r}.", hint=f"Masks: {', '.join(_MASKS)}."
            )
        folder = required_folder(row.folder, row.id)
        self._model = load_model(
            VJEPA2Model, folder, dtype=compute.precise_dtype, expected=_EXPECTED
        ).to(compute.device)
        with reading(folder, needs=[_PREPROCESSING], expected=_EXPECTED):
            self._preprocess = Preprocessing.read(folder, _PREPROCESSING)
        edge = self._model.config.crop_size
        if self._preprocess.crop != (edge, edge):
            raise WeightsUnreadable(
                f"The model in {folder} was trained on {edge}x{edge} pixels, but {_PREPROCESSING} crops to {self._preprocess.crop}.",
                hint=f"Set its crop_size to {edge}.",
            )

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,); the prompts do not matter. Raises `ValueError` for a single frame."""
        del prompts
        if frames_BFCHW.shape[1] < 2:
            raise ValueError(f"{self.row.id} looks at movement: it needs at least 2 frames")
        pixels_NCHW = self._preprocess(frames_BFCHW.flatten(0, 1).to(self._model.dtype))
        pixels_BFCHW = torch.unflatten(pixels_NCHW, 0, frames_BFCHW.shape[:2])
        clips = windows(pixels_BFCHW, self._model.config)
        return -torch.stack([self._loss(clip_BFCHW) for clip_BFCHW in clips]).mean(0)

    def _loss(self, clip_BFCHW: torch.Tensor) -> torch.Tensor:
        features_BND = encode(self._model, clip_BFCHW)
        targets_BND = layer_norm(features_BND, features_BND.shape[-1:])
        masks = self._masks(grid(clip_BFCHW, self._model.config))
        return prediction_loss(self._model, targets_BND, clip_BFCHW, masks)

    def _masks(self, shape: tuple[int, int, int]) -> Masks:
        if self._hides == "moments":
            return moment_masks(shape)
        generator = torch.Generator().manual_seed(_SEED)
        return [mask for _ in range(_DRAWS) for mask in block_masks(shape, generator)]


def windows(pixels_BFCHW: torch.Tensor, config: Any) -> list[torch.Tensor]:
    """Clips of at most the model's own length that together show every frame, evenly placed.

    A video whose frames do not fill its last tubelet gets its last frame repeated.
    """
    count, longest = pixels_BFCHW.shape[1], config.frames_per_clip
    if count <= longest:
        missing = -count % config.tubelet_size
        last_BFCHW = pixels_BFCHW[:, -1:].expand(-1, missing, -1, -1, -1)
        return [torch.cat([pixels_BFCHW, last_BFCHW], dim=1)]
    starts = torch.linspace(0, count - longest, math.ceil(count / longest)).round().int().tolist()
    return [pixels_BFCHW[:, start : start + longest] for start in starts]


def grid(pixels_BFCHW: torch.Tensor, config: Any) -> tuple[int, int, int]:
    """Tokens in time, height and width."""
    edge = config.crop_size // config.patch_size
    return pixels_BFCHW.shape[1] // config.tubelet_size, edge, edge


def moment_masks(shape: tuple[int, int, int]) -> Masks:
    """The moments of a clip in stretches of about equal length, each hidden once.

    Raises `ValueError` for a clip of one moment, of which nothing would be left to see.
    """
    duration, height, width = shape
    if duration < 2:
        raise ValueError("a clip that fills only one moment cannot have moments hidden")
    moments_N = torch.arange(duration).repeat_interleave(height * width)
    masks = []
    for hidden_T in torch.arange(duration).tensor_split(min(_STRETCHES, duration)):
        is_hidden_N = torch.isin(moments_N, hidden_T)
        masks.append(((~is_hidden_N).nonzero().flatten(), is_hidden_N.nonzero().flatten()))
    return masks


def block_masks(shape: tuple[int, int, int], generator: torch.Generator) -> Masks:
    """One mask of small and one of large blocks, each as the sorted indices of (visible, hidden)."""
    return [_block_mask(shape, blocks, share, generator) for blocks, share in _BLOCKS]


def _block_mask(
    shape: tuple[int, int, int], blocks: int, share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """All blocks of a mask have one size. Raises `ValueError` for a grid that cannot be masked."""
    duration, height, width = shape
    for _ in range(_TRIES):
        low, high = _ASPECT_RATIOS
        aspect = low + float(torch.rand((), generator=generator)) * (high - low)
        area = max(1, int(height * width * share))
        rows = min(height, max(1, round(math.sqrt(area * aspect))))
        columns = min(width, max(1, round(math.sqrt(area / aspect))))
        hidden_HW = torch.zeros(height, width, dtype=torch.bool)
        for _ in range(blocks):
            top = int(torch.randint(height - rows + 1, (), generator=generator))
            left = int(torch.randint(width - columns + 1, (), generator=generator))
            hidden_HW[top : top + rows, left : left + columns] = True
        if not hidden_HW.all():
            hidden_N = hidden_HW.flatten().repeat(duration)
            return (~hidden_N).nonzero().flatten(), hidden_N.nonzero().flatten()
    raise ValueError(f"blocks of {share:.0%} always hide all of {height}x{width} patches")


def encode(
    model: VJEPA2Model, pixels_BFCHW: torch.Tensor, visible_V: torch.Tensor | None = None
) -> torch.Tensor:
    """Features (B, N, D), or (B, V, D) of an encoder that sees the tokens of these indices only."""
    states_BND = model.encoder.embeddings(pixels_BFCHW)
    places_BV = None
    if visible_V is not None:
        visible_V = visible_V.to(states_BND.device)
        states_BND = states_BND.index_select(1, visible_V)
        places_BV = visible_V.expand(len(states_BND), -1)
    states_BND = _through(model.encoder.layer, states_BND, places_BV)
    encoded: torch.Tensor = model.encoder.layernorm(states_BND)
    return encoded


def _through(
    layers: nn.ModuleList, states_BND: torch.Tensor, places_BN: torch.Tensor | None
) -> torch.Tensor:
    """The states after all layers.

    A frozen model's layers keep only their inputs for the backward pass: 64 frames are 8192 tokens.
    """
    for layer in layers:
        frozen = not any(parameter.requires_grad for parameter in layer.parameters())
        if frozen and torch.is_grad_enabled():
            states_BND = checkpoint(layer, states_BND, places_BN, use_reentrant=False)[0]
        else:
            states_BND = layer(states_BND, places_BN)[0]
    return states_BND


def predict(
    model: VJEPA2Model,
    context_BVD: torch.Tensor,
    visible_V: torch.Tensor,
    hidden_U: torch.Tensor,
) -> torch.Tensor:
    """The predictor's features (B, U, D) of the hidden tokens.

    The tokens' places go in by rotary embedding, so that their order in the sequence does not matter.
    """
    predictor, batch = model.predictor, len(context_BVD)
    known_BVD = predictor.embeddings.predictor_embeddings(context_BVD)
    blank_BUD = predictor.embeddings.mask_tokens[_MASK_TOKEN].expand(batch, len(hidden_U), -1)
    states_BND = torch.cat([known_BVD, blank_BUD], dim=1)
    places_BN = torch.cat([visible_V, hidden_U]).to(states_BND.device).expand(batch, -1)
    states_BND = _through(predictor.layer, states_BND, places_BN)
    hidden_BUD = predictor.layernorm(states_BND)[:, len(visible_V) :]
    predicted: torch.Tensor = predictor.proj(hidden_BUD)
    return predicted


def prediction_loss(
    model: VJEPA2Model, targets_BND: torch.Tensor, pixels_BFCHW: torch.Tensor, masks: Masks
) -> torch.Tensor:
    """Mean absolute difference (B,) of predictions to normalised features, mean over the masks."""
    losses = []
    for visible_V, hidden_U in masks:
        context_BVD = encode(model, pixels_BFCHW, visible_V)
        predicted_BUD = predict(model, context_BVD, visible_V, hidden_U)
        wanted_BUD = targets_BND.index_select(1, hidden_U.to(targets_BND.device))
        losses.append((predicted_BUD - wanted_BUD).abs().mean((1, 2)))
    return torch.stack(losses).mean(0)
