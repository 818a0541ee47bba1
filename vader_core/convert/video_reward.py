"""VideoReward from its published checkpoint: a LoRA of Qwen2-VL 2B, not merged, becomes a judge's folder.

Source: github.com/KwaiVGI/VideoAlign: train_reward.py and utils.py for the names, trainer.py for the head
(one linear layer without bias; with three outputs each is the one of its own token), train.sh and
model_config.json for the LoRA. The question that the model was trained with is read from the published
prompt_template.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vader_core.convert import qwen2_vl
from vader_core.convert.published import read, refuse
from vader_core.rewards.head import Head, HeadConfig
from vader_core.rewards.qwen2_vl import JudgeConfig
from vader_core.rewards.video_reward import DIMENSIONS
from vader_core.weights import reading

SOURCES = {
    "checkpoint": "checkpoint-11352/model.pth of KlingTeam/VideoReward",
    "config": "model_config.json of KlingTeam/VideoReward",
    "base": "a folder with config, tokenizer and preprocessor_config.json of Qwen/Qwen2-VL-2B-Instruct",
    "template": "prompt_template.py of github.com/KwaiVGI/VideoAlign",
}
TOKENS = dict(zip(DIMENSIONS, ("<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>"), strict=True))
_TEMPLATE = "DETAILED_PROMPT_WITH_SPECIAL_TOKEN"
_HEAD = "rm_head.weight"
# The least area of a frame, which the authors leave at the default of their vision_process.py.
_MIN_PIXELS = 128 * 28 * 28
_AXES = {"visual": "VQ", "motion": "MQ", "text": "TA"}


@dataclass(frozen=True)
class _Published:
    """What model_config.json says."""

    lora_scale: float
    max_pixels: int
    frames_per_second: float
    mean: dict[str, float]
    std: dict[str, float]


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    path = sources["checkpoint"]
    published = _published(sources["config"])
    (template,) = qwen2_vl.texts_of(sources["template"], [_TEMPLATE], expected=SOURCES["template"])
    base = qwen2_vl.read_base(sources["base"], list(TOKENS.values()), expected=SOURCES["base"])
    tensors = qwen2_vl.own_names(read(path))
    tensors = qwen2_vl.merged(tensors, scale=published.lora_scale)
    model = qwen2_vl.fill(base, tensors, [_HEAD], path=path)
    judge = JudgeConfig(
        template=template,
        tokens=TOKENS,
        mean=published.mean,
        std=published.std,
        min_pixels=_MIN_PIXELS,
        max_pixels=published.max_pixels,
        frames_per_second=published.frames_per_second,
    )
    qwen2_vl.write(out, base, model, heads(tensors[_HEAD]), judge)


def heads(weight: torch.Tensor) -> dict[str, Head]:
    """A head for every dimension, of a matrix with one row for all or one for each."""
    made: dict[str, Head] = {}
    for index, name in enumerate(DIMENSIONS):
        head = Head(HeadConfig(widths=[weight.shape[1], 1]))
        row = weight[index % len(weight)][None].float()
        head.layers[0].load_state_dict({"weight": row, "bias": torch.zeros(1)})
        made[name] = head
    return made


def _published(path: Path) -> _Published:
    with reading(path.parent, needs=[path.name], expected=SOURCES["config"]):
        fields = json.loads(path.read_text(encoding="utf-8"))
        data, model, lora = (
            fields[name] for name in ("data_config", "model_config", "peft_lora_config")
        )
        norm = fields.get("inference_config")
        found = _Published(
            lora_scale=lora["lora_alpha"] / lora["lora_r"],
            max_pixels=int(data["max_frame_pixels"]),
            frames_per_second=float(data["fps"]),
            mean={} if norm is None else {one: norm[f"{axis}_mean"] for one, axis in _AXES.items()},
            std={} if norm is None else {one: norm[f"{axis}_std"] for one, axis in _AXES.items()},
        )
    expected = {
        "prompt_template_type": (data.get("prompt_template_type"), "detailed_special"),
        "sample_type": (data.get("sample_type", "uniform"), "uniform"),
        "num_frames": (data.get("num_frames"), None),
        "use_special_tokens": (model.get("use_special_tokens"), True),
        "use_rslora": (lora.get("use_rslora", False), False),
    }
    faults = [f"{key} is {is_!r}" for key, (is_, wanted) in expected.items() if is_ != wanted]
    refuse(path, faults, expected=SOURCES["config"])
    return found
