"""How much GPU memory each base model takes in training, as a table that was computed before. Free of torch.

`python -m vader_core memory --all --write` computes it (`vader_core.memory`).
"""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import RootModel

from vader_core.catalogue import ROWS
from vader_core.strict import Strict

TABLE = ROWS / "memory.json"


class MemoryEstimate(Strict):
    """Bytes that one training step holds on the GPU, by what they are.

    `base_model` are the weights that stay, by part of the pipeline, `rewards` those of the rewards and
    guards. `adapter` are the LoRA masters, `gradients` and `optimiser` what training keeps for them.
    `stages` has, for every stage of a step (`vader_core.memory_stages`), the most that it holds besides:
    prefix, last_k, decode, reward and backward for `reward_gradient`; sampling, decode, reward and
    learning for all other methods. `training` is all that stays
    and the largest stage; `loading` all weights together, with the text encoders that leave before
    training begins. `peak` is the larger of these two.
    """

    base_model: dict[str, int]
    rewards: int
    adapter: int
    gradients: int
    optimiser: int
    stages: dict[str, int]
    training: int
    loading: int
    peak: int


class TrainingMemory(Strict):
    """The memory that training a base model by `method` takes on a GPU, and the settings that this is for.

    `basis` says how the figures came about.
    """

    width: int
    height: int
    num_frames: int
    method: Literal["reward_gradient"] = "reward_gradient"
    frames_scored: str
    differentiable_steps: int
    batch_size: int
    guidance_gradient: str
    adapter_rank: int
    precision: str
    reward: str
    basis: str
    bytes: MemoryEstimate


class Table(RootModel[dict[str, TrainingMemory]]):
    """By the base models' ids."""


@functools.cache
def table() -> dict[str, TrainingMemory]:
    """The table that comes with this package."""
    return Table.model_validate_json(TABLE.read_bytes()).root if TABLE.is_file() else {}


def training_memory(base_model: str) -> TrainingMemory | None:
    """The table's row for a base model's id; None where there is none."""
    return table().get(base_model)
