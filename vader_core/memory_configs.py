"""The published configurations of base models and rewards, written out as folders that loaders read.

`vader_core/rows/configs/<row id>.json` has a row's configurations as facts, with their source. A base
model's file names its `parts` as model_index.json does, with class and configuration, None for a part
that is left out (tokenizers), and in `embeds` what a text becomes: shapes of one row each, by the names
of the pipeline's arguments. A reward's file has its `files`; its tokenizer is lent by the tiny world, as
no tokenizer changes how much memory a model takes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from vader_core.catalogue import ROWS, TINY_WEIGHTS, BaseModelRow, Catalogue, RewardRow
from vader_core.rewards.head import Head, HeadConfig
from vader_core.strict import Strict

CONFIGS = ROWS / "configs"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


class Embed(Strict):
    """One tensor that stands for a text; `precise` ones are float32 whatever the denoiser computes in."""

    shape: list[int]
    dtype: Literal["compute", "precise", "mask"] = "compute"


class Part(Strict):
    """One part of a pipeline: `name` is its class, `library` where that comes from."""

    library: str
    name: str
    config: dict[str, JsonValue]


class BaseModelConfigs(Strict):
    """The configurations of a base model's parts; `settings` are the pipeline's own."""

    source: str
    parts: dict[str, Part | None]
    embeds: dict[str, Embed] = {}
    settings: dict[str, JsonValue] = {}


class RewardConfigs(Strict):
    """The files of a reward; `tokenizer` names the tiny folder that lends its tokenizer, `head` the widths of
    a head on its embeddings."""

    source: str
    files: dict[str, dict[str, JsonValue]]
    tokenizer: str | None = None
    head: list[int] | None = None


def base_model_configs(row_id: str) -> BaseModelConfigs | None:
    """The configurations of a base model, None where none are known."""
    path = CONFIGS / f"{row_id}.json"
    return BaseModelConfigs.model_validate_json(path.read_bytes()) if path.is_file() else None


def written(catalogue: Catalogue, folder: Path) -> Catalogue:
    """The catalogue, with rows whose weights are missing led to their configurations, below `folder`."""
    base_models: dict[str, BaseModelRow] = {}
    for row_id, row in catalogue.base_models.items():
        configs = None if row.installed else base_model_configs(row_id)
        if configs is not None:
            _write_base_model(row, configs, folder / row_id)
            row = row.model_copy(update={"folder": folder / row_id})
        base_models[row_id] = row
    rewards: dict[str, RewardRow] = {}
    for row_id, reward in catalogue.rewards.items():
        path = CONFIGS / f"{row_id}.json"
        if not reward.installed and path.is_file():
            _write_reward(RewardConfigs.model_validate_json(path.read_bytes()), folder / row_id)
            reward = reward.model_copy(update={"folder": folder / row_id})
        rewards[row_id] = reward
    return Catalogue(base_models=base_models, rewards=rewards)


def _write_base_model(row: BaseModelRow, configs: BaseModelConfigs, folder: Path) -> None:
    index: dict[str, JsonValue] = {"_class_name": row.pipeline_class, **configs.settings}
    for name, part in configs.parts.items():
        index[name] = [part.library, part.name] if part else [None, None]
        if part is not None:
            (folder / name).mkdir(parents=True)
            _write(folder / name / _file_name(part), {"_class_name": part.name, **part.config})
    _write(folder / "model_index.json", index)


def _file_name(part: Part) -> str:
    if part.name.endswith("Scheduler"):
        return "scheduler_config.json"
    return "preprocessor_config.json" if part.name.endswith("Processor") else "config.json"


def _write_reward(configs: RewardConfigs, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in configs.files.items():
        _write(folder / name, content)
    for name in _TOKENIZER_FILES if configs.tokenizer else ():
        shutil.copyfile(TINY_WEIGHTS / str(configs.tokenizer) / name, folder / name)
    if configs.head:
        Head(HeadConfig(configs.head)).save_pretrained(folder)


def _write(path: Path, content: Mapping[str, JsonValue]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
