"""What the converters of Qwen2-VL judges share: names, merged LoRAs, tokens, questions out of published files.

Names: the checkpoints were written by transformers 4.45 (model.layers.*, model.embed_tokens, visual.*), a
LoRA's by PEFT (base_model.model.*, *.base_layer.weight, *.lora_A.default.weight); transformers 5 has the
text model below language_model. Names of either kind are read.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen2VLConfig, Qwen2VLModel

from vader_core.convert.published import filled, refuse, staged
from vader_core.errors import WeightsUnreadable
from vader_core.rewards.head import Head
from vader_core.rewards.qwen2_vl import JUDGE, PREPROCESSOR, JudgeConfig
from vader_core.weights import reading

_EMBEDDING = "language_model.embed_tokens.weight"
_OWN_NAMES = (
    (re.compile(r"^base_model\.model\."), ""),
    (re.compile(r"^model\.(?=language_model\.|visual\.)"), ""),
    (re.compile(r"^model\."), "language_model."),
)
# What judges do not use: words are not predicted.
_LEFT_OUT = re.compile(r"lm_head\.weight")
_LORA = re.compile(r"(.+)\.lora_(A|B)(\.default)?\.weight")


@dataclass(frozen=True)
class Base:
    """The parts of the model that a judge was made of: its configuration and its tokenizer."""

    config: Qwen2VLConfig
    tokenizer: Any
    preprocessor: Path


def read_base(folder: Path, tokens: Sequence[str], *, expected: str) -> Base:
    """Of the folder of a Qwen2-VL model, whose tokenizer gets the reward `tokens`, as in training."""
    needs = ["config.json", PREPROCESSOR, "tokenizer_config.json"]
    with reading(folder, needs=needs, expected=expected):
        config = Qwen2VLConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if tokenizer.chat_template is None:
            chat = json.loads((folder / "chat_template.json").read_text(encoding="utf-8"))
            tokenizer.chat_template = chat["chat_template"]
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    return Base(config, tokenizer, folder / PREPROCESSOR)


def own_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors by the names of transformers 5's Qwen2VLModel; others keep theirs."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        own = name
        for pattern, replacement in _OWN_NAMES:
            own = pattern.sub(replacement, own, count=1)
        found[own] = tensor
    return found


def merged(tensors: Mapping[str, torch.Tensor], *, scale: float) -> dict[str, torch.Tensor]:
    """The tensors with every LoRA added to its layer: W + scale * B A, kept in float32."""
    found: dict[str, torch.Tensor] = {}
    factors: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        lora = _LORA.fullmatch(name)
        if lora:
            factors.setdefault(lora[1], {})[lora[2]] = tensor
        else:
            found[name.replace(".base_layer.", ".")] = tensor
    for layer, pair in factors.items():
        name = f"{layer}.weight"
        if set(pair) != {"A", "B"} or name not in found:
            # Left as it is, it is refused as a name that is not known.
            found |= {f"{layer}.lora_{one}": tensor for one, tensor in pair.items()}
            continue
        added = scale * pair["B"].float() @ pair["A"].float()
        found[name] = found[name].float() + added
    return found


def fill(
    base: Base, tensors: Mapping[str, torch.Tensor], heads: Sequence[str], *, path: Path
) -> Qwen2VLModel:
    """The model with its weights; `heads` are the names of the head's tensors, which it does not have.

    Raises one `WeightsUnreadable` for all that is missing, misshapen or not known.
    """
    words = len(base.tokenizer)
    base.config.text_config.vocab_size = words
    with torch.device("meta"):
        model = Qwen2VLModel(base.config)
    faults = filled(model, tensors, lambda name: name)
    faults += [f"{name} is missing" for name in heads if name not in tensors]
    known = {*model.state_dict(), *heads}
    left = sorted(set(tensors) - known)
    faults += [f"{name} is not known" for name in left if not _LEFT_OUT.fullmatch(name)]
    refuse(path, faults, expected=f"a judge of this base model with {words} words")
    return model


def write(
    out: Path, base: Base, model: Qwen2VLModel, heads: Mapping[str, Head], judge: JudgeConfig
) -> None:
    """The judge's folder, whole or not at all."""
    with staged(out) as folder:
        model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        shutil.copyfile(base.preprocessor, folder / PREPROCESSOR)
        for name, head in heads.items():
            head.save_pretrained(folder, name)
        (folder / JUDGE).write_text(judge.model_dump_json(indent=2) + "\n", encoding="utf-8")


def texts_of(path: Path, names: Sequence[str], *, expected: str) -> list[str]:
    """The texts that a published Python file gives to `names`; the file is parsed and never run.

    Raises `WeightsUnreadable` where one is missing.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise WeightsUnreadable(
            f"{path} cannot be read: {error}", hint=f"Give {expected}."
        ) from error
    found = {
        target.id: statement.value.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name) and isinstance(statement.value.value, str)
    }
    refuse(path, [f"{name} is missing" for name in names if name not in found], expected=expected)
    return [found[name] for name in names]
