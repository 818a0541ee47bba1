"""Judges made of Qwen2-VL (arXiv 2409.12191): a clip and a question in, the states of reward tokens out.

Facts: vision_process.py, trainer.py and inference.py of github.com/KwaiVGI/VideoAlign, hpsv3/dataset and
hpsv3/model of github.com/MizzenAI/HPSv3 (a descendant), and the image processor of transformers' qwen2_vl.
The processor's patches are cut here by torch operations, so that gradients pass. Both judges were trained
with plainly counted positions (their forward gives none, and the text model then counts), not with
Qwen2-VL's three-dimensional ones: so it is here.

A judge's folder is a Qwen2VLModel's with its tokenizer, preprocessor_config.json and judge.json, the
fields of `JudgeConfig`. The converters `video_reward` and `hpsv3` write it.

Deviations: nothing is rounded to 8 bits after resizing; words of a prompt that are tokens of the model's
own language, such as <|im_end|>, are left out, so that no prompt can answer for the model; and what
follows the last reward token, which causal attention never lets it see, is not computed.

Letters: N clips, F frames, C channels, H and W sizes, T temporal patches, L vision tokens, K reward
tokens, P numbers of a patch, D width.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint
from transformers import AutoTokenizer, Qwen2VLModel

from vader_core.devices import Compute
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.strict import Strict
from vader_core.weights import load_model, reading

JUDGE = "judge.json"
PREPROCESSOR = "preprocessor_config.json"
EXPECTED = f"a judge's folder: a Qwen2VLModel with its tokenizer, {PREPROCESSOR}, {JUDGE} and the heads' files"
_BICUBIC = 3
# Longer and thinner pictures are refused, as the published code does.
_MOST_ELONGATED = 200

Kind = Literal["image", "video"]


class JudgeConfig(Strict):
    """What a judge is asked and how its answers are read.

    `template` has the place {text_prompt}. `tokens` are the reward tokens by the name of what they
    judge, in the order in which they stand in the template; an answer's score is its head's number,
    less `mean`, over `std`. `min_pixels` and `max_pixels` bound the area that frames are resized to;
    `frames_per_second` is how many are looked at.
    """

    template: str
    tokens: dict[str, str]
    mean: dict[str, float] = {}
    std: dict[str, float] = {}
    min_pixels: int
    max_pixels: int
    frames_per_second: float | None = None


@dataclass(frozen=True)
class Patcher:
    """Cuts clips into the patches that Qwen2-VL's vision half takes."""

    patch: int
    merge: int
    temporal: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min_pixels: int
    max_pixels: int

    def __call__(self, clips_NFCHW: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int, int]]:
        """Patches (N * T * rows * columns, P), and (T, rows, columns) of every clip.

        A clip whose frames do not fill its last temporal patch has its last frame repeated.
        """
        clips, frames = clips_NFCHW.shape[:2]
        size = fitted(
            *clips_NFCHW.shape[-2:],
            factor=self.patch * self.merge,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
        )
        resize = Preprocessing(size, None, _BICUBIC, self.mean, self.std)
        pixels_NFCHW = torch.unflatten(resize(clips_NFCHW.flatten(0, 1)), 0, (clips, frames))
        missing = -frames % self.temporal
        last_NFCHW = pixels_NFCHW[:, -1:].expand(-1, missing, -1, -1, -1)
        pixels_NFCHW = torch.cat([pixels_NFCHW, last_NFCHW], 1)
        grid = (
            pixels_NFCHW.shape[1] // self.temporal,
            size[0] // self.patch,
            size[1] // self.patch,
        )
        blocks = (grid[1] // self.merge, grid[2] // self.merge)
        within = (self.merge, self.patch)
        cut = pixels_NFCHW.reshape(
            clips, grid[0], self.temporal, -1, blocks[0], *within, blocks[1], *within
        )
        # A patch's neighbours that are merged later lie beside it; a patch is channels, moments, pixels.
        patches = cut.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).flatten(0, 5).flatten(1)
        return patches, grid


def fitted(
    height: int, width: int, *, factor: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """The size nearest to (height, width) in multiples of `factor` whose area is within the bounds.

    Raises `ValueError` for shapes longer than 200 times their width.
    """
    if max(height, width) > _MOST_ELONGATED * min(height, width):
        raise ValueError(f"{height}x{width} is more than {_MOST_ELONGATED} times longer than wide")
    rows, columns = (max(1, round(edge / factor)) for edge in (height, width))
    area = rows * columns * factor**2
    if area > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows, columns = (max(1, math.floor(edge / shrink / factor)) for edge in (height, width))
    elif area < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(edge * grow / factor) for edge in (height, width))
    return rows * factor, columns * factor


def judge_dtype(compute: Compute) -> torch.dtype:
    """bf16 where the run computes in it, as the judges were trained: they have billions of weights."""
    return torch.bfloat16 if compute.dtype == torch.bfloat16 else compute.precise_dtype


class Judge:
    """The frozen model with its tokenizer; `config` is how to ask it."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        files = [JUDGE, PREPROCESSOR, "tokenizer_config.json"]
        with reading(folder, needs=files, expected=EXPECTED):
            self.config = JudgeConfig.model_validate_json((folder / JUDGE).read_bytes())
            self._patches = _patcher(folder, self.config)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = load_model(
            Qwen2VLModel, folder, dtype=judge_dtype(compute), expected=EXPECTED
        ).to(compute.device)
        self._vision, self._text, self._ids = model.visual, model.language_model, model.config
        self._dtype = judge_dtype(compute)
        # Dozens of wide layers: on the way back each computes its inner states once more.
        for layer in (*self._vision.blocks, *self._text.layers):
            layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)

    def states(
        self, clips_NFCHW: torch.Tensor, prompt: str, *, kind: Kind, asked: Sequence[str]
    ) -> torch.Tensor:
        """The last states (N, K, D) of the `asked` reward tokens, for clips of one prompt."""
        ids = self._question(prompt, kind)
        # As the models' own processors: resized precisely, and rounded then.
        patches, grid = self._patches(clips_NFCHW)
        patches = patches.to(self._dtype)
        clips = len(clips_NFCHW)
        grids = torch.tensor([grid] * clips, device=patches.device)
        vision_LD = self._vision(patches, grid_thw=grids).pooler_output
        vision_NLD = torch.unflatten(vision_LD, 0, (clips, -1))
        pad = self._ids.image_token_id if kind == "image" else self._ids.video_token_id
        place = ids.index(pad)
        names = [self._tokenizer.convert_tokens_to_ids(self.config.tokens[one]) for one in asked]
        ends = [ids.index(name) for name in names]
        before, after = (
            self._text.embed_tokens(torch.tensor(part, device=patches.device)).expand(clips, -1, -1)
            for part in (ids[:place], ids[place + 1 : max(ends) + 1])
        )
        state_NLD = self._text(
            inputs_embeds=torch.cat([before, vision_NLD, after], 1), use_cache=False
        ).last_hidden_state
        # The one placeholder has become as many tokens as there are of vision.
        shift = vision_NLD.shape[1] - 1
        states_NKD: torch.Tensor = state_NLD[:, [end + shift for end in ends]]
        return states_NKD

    def _question(self, prompt: str, kind: Kind) -> list[int]:
        """Token ids of the whole conversation, with a single placeholder for the clip."""
        for word in self._tokenizer.get_added_vocab():
            prompt = prompt.replace(word, " ")
        text = self.config.template.format(text_prompt=prompt)
        message = {"role": "user", "content": [{"type": kind}, {"type": "text", "text": text}]}
        chat = self._tokenizer.apply_chat_template(
            [message], tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = self._tokenizer(chat)["input_ids"]
        return ids


def _patcher(folder: Path, config: JudgeConfig) -> Patcher:
    fields = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
    return Patcher(
        patch=int(fields["patch_size"]),
        merge=int(fields["merge_size"]),
        temporal=int(fields["temporal_patch_size"]),
        mean=tuple(fields["image_mean"]),
        std=tuple(fields["image_std"]),
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
    )
