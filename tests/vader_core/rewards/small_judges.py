"""Small random judges of Qwen2-VL's class, as weight folders, and their scores by transformers' own forward."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tests.vader_core.rewards.small_detectors import stirred
from vader_core.rewards.head import Head, HeadConfig
from vader_core.rewards.qwen2_vl import JUDGE, JudgeConfig

PATCH, MERGE, TEMPORAL = 4, 2, 2
WORDS = [
    *("a", "red", "circle", "moving", "left", "blue", "square"),
    *("how", "good", "is", "the", "clip", "of", "assistant", "user"),
]
SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} "
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<|vision_start|><|{{ part['type'] }}_pad|><|vision_end|>{% endif %}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level one with Qwen2-VL's special tokens; ids count from 0."""
    vocabulary = {word: index for index, word in enumerate(["<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", chat_template=CHAT)
    made.add_tokens(SPECIAL, special_tokens=True)
    return made


def config(words: PreTrainedTokenizerFast, vocabulary: int) -> Qwen2VLConfig:
    image, video = words.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    return Qwen2VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "bos_token_id": None,
            "eos_token_id": None,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2]},
        },
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 24,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": TEMPORAL,
        },
        image_token_id=image,
        video_token_id=video,
    )


def processor() -> Qwen2VLImageProcessorPil:
    """Bounds as wide as Qwen2-VL's own: the judges' are narrower."""
    return Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=TEMPORAL,
        size={"shortest_edge": 64, "longest_edge": 1 << 20},
    )


@dataclass(frozen=True)
class SmallJudge:
    """What was written, for an evaluation that does not go through this package."""

    model: Qwen2VLModel
    words: PreTrainedTokenizerFast
    config: JudgeConfig
    heads: Mapping[str, Head]


def build(folder: Path, asked: JudgeConfig, widths: list[int]) -> SmallJudge:
    """Writes a judge's folder with a head of `widths` for each reward token."""
    torch.manual_seed(0)
    words = tokenizer()
    words.add_tokens(list(asked.tokens.values()), special_tokens=True)
    model = stirred(Qwen2VLModel(config(words, len(words))))
    # Random weights make a lot of the one 8-bit level that files round away.
    model.visual.patch_embed.proj.weight.data *= 0.1
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    heads = {name: Head(HeadConfig(widths, between="relu")) for name in asked.tokens}
    for name, head in heads.items():
        for layer in head.layers:
            nn.init.normal_(layer.get_parameter("weight"), std=0.3)
        head.save_pretrained(folder, name)
    fields = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": TEMPORAL}
    means = {"image_mean": list(processor().image_mean), "image_std": list(processor().image_std)}
    (folder / "preprocessor_config.json").write_text(json.dumps({**fields, **means}))
    (folder / JUDGE).write_text(asked.model_dump_json())
    return SmallJudge(model.double(), words, asked, heads)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As the judges' own code resizes 8-bit pictures before the processor sees them."""
    edges = (size[1], size[0])
    return np.asarray(Image.fromarray(image).resize(edges, Image.Resampling.BICUBIC))


def state(
    judge: SmallJudge, inputs: Mapping[str, torch.Tensor], chat: str, token: str
) -> np.ndarray:
    """The last state of `token`, by one forward of the whole model with counted positions."""
    kind = "image" if "image_grid_thw" in inputs else "video"
    grid = inputs[f"{kind}_grid_thw"][0]
    count = int(grid.prod()) // MERGE**2
    ids = judge.words(chat.replace(f"<|{kind}_pad|>", f"<|{kind}_pad|>" * count))["input_ids"]
    places = torch.arange(len(ids)).view(1, 1, -1).expand(3, 1, -1)
    with torch.no_grad():
        found: torch.Tensor = judge.model(
            input_ids=torch.tensor([ids]), position_ids=places, use_cache=False, **inputs
        ).last_hidden_state
    return found[0, ids.index(judge.words.convert_tokens_to_ids(token))].numpy()


def answer(head: Head, state_D: np.ndarray) -> float:
    """The head's number in numpy."""
    layers = [
        (
            layer.get_parameter("weight").detach().numpy(),
            layer.get_parameter("bias").detach().numpy(),
        )
        for layer in head.layers
    ]
    for weight, bias in layers[:-1]:
        state_D = np.maximum(weight @ state_D + bias, 0)
    weight, bias = layers[-1]
    return float((weight @ state_D + bias)[0])
