"""HPSv3 from its published checkpoint: a tuned Qwen2-VL 7B with a head of three layers becomes a judge's folder.

Source: github.com/MizzenAI/HPSv3: hpsv3/train.py and model/qwen2vl_trainer.py for the names and the head
(rm_head.0, .3 and .5 with ReLUs and dropout between), inference.py and config/HPSv3_7B.yaml for the size of
pictures. Of the head's two outputs the first, the mean, is kept. The question that the model was trained
with is read from the published data_collator_qwen.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vader_core.convert import qwen2_vl
from vader_core.convert.published import read
from vader_core.rewards.head import Head, HeadConfig
from vader_core.rewards.hpsv3 import DIMENSION
from vader_core.rewards.qwen2_vl import JudgeConfig

SOURCES = {
    "checkpoint": "HPSv3.safetensors of MizzenAI/HPSv3",
    "base": "a folder with config, tokenizer and preprocessor_config.json of Qwen/Qwen2-VL-7B-Instruct",
    "template": "hpsv3/dataset/data_collator_qwen.py of github.com/MizzenAI/HPSv3",
}
TOKEN = "<|Reward|>"  # noqa: S105  # a word of the model's language
_TEXTS = ["INSTRUCTION", "prompt_with_special_token"]
_LAYERS = ["rm_head.0", "rm_head.3", "rm_head.5"]
HEAD = [f"{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")]
_PIXELS = 256 * 28 * 28


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    path = sources["checkpoint"]
    texts = qwen2_vl.texts_of(sources["template"], _TEXTS, expected=SOURCES["template"])
    base = qwen2_vl.read_base(sources["base"], [TOKEN], expected=SOURCES["base"])
    tensors = qwen2_vl.own_names(read(path))
    model = qwen2_vl.fill(base, tensors, HEAD, path=path)
    judge = JudgeConfig(
        template="".join(texts),
        tokens={DIMENSION: TOKEN},
        min_pixels=_PIXELS,
        max_pixels=_PIXELS,
    )
    qwen2_vl.write(out, base, model, {DIMENSION: head(tensors)}, judge)


def head(tensors: Mapping[str, torch.Tensor]) -> Head:
    """The published head's mean."""
    weights = [tensors[f"{layer}.weight"].float() for layer in _LAYERS]
    biases = [tensors[f"{layer}.bias"].float() for layer in _LAYERS]
    weights[-1], biases[-1] = weights[-1][:1], biases[-1][:1]
    made = Head(HeadConfig([weights[0].shape[1], *(len(one) for one in weights)], between="relu"))
    for layer, weight, bias in zip(made.layers, weights, biases, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    return made
