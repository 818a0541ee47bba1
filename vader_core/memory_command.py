"""`python -m vader_core memory`: how much GPU memory a job takes, without weights and without a GPU."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from vader_core.catalogue import Catalogue, find_row
from vader_core.errors import SpecUnusable
from vader_core.families.family import required_size
from vader_core.faults import InvalidSpec
from vader_core.files import write_whole
from vader_core.memory import BASIS, estimate
from vader_core.memory_configs import CONFIGS, written
from vader_core.memory_table import TABLE, MemoryEstimate, Table, TrainingMemory, table
from vader_core.method_spec import RewardGradient
from vader_core.resolve import check
from vader_core.spec import JobSpec
from vader_core.spec_file import read_spec

# What every row of the table is scored by: CLIP ViT-H/14, on which HPS v2 and PickScore are built.
TABLE_REWARD = "hps-v2.1"
_GIB = 2**30

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a base model is to be estimated for; what `video` leaves out is the model's own default."""

    reward: str
    video: Mapping[str, int] = field(default_factory=dict)
    differentiable_steps: int = 1

    @property
    def method(self) -> RewardGradient:
        return RewardGradient(batch_size=1, differentiable_steps=self.differentiable_steps)


@dataclass(frozen=True)
class Asked:
    """What the command was asked for: the spec in a file, one base model with `settings`, or all of them."""

    spec: Path | None
    base_model: str | None
    settings: Settings
    as_json: bool
    write: bool


def run(asked: Asked, catalogue: Catalogue) -> None:
    """Writes the estimate to the standard output, or all rows' into the table of the package.

    Raises `SpecUnusable` for a spec that cannot run or a model whose configuration is not known.
    """
    with tempfile.TemporaryDirectory() as folder:
        known = written(catalogue, Path(folder))
        if asked.write or (asked.spec is None and asked.base_model is None):
            _tabulate(asked, known)
            return
        found = estimate(_resolved(_document(asked, known), known), known)
    sys.stdout.write(found.model_dump_json(indent=1) + "\n" if asked.as_json else _text(found))


def _tabulate(asked: Asked, catalogue: Catalogue) -> None:
    """One row of the table, or all whose configurations are known, each at its own default size."""
    ids = [asked.base_model] if asked.base_model else _configured(catalogue)
    found: dict[str, TrainingMemory] = {}
    for row_id in ids:
        _log.info("estimating %s", row_id)
        found[row_id] = _row(row_id, catalogue)
        if asked.write:
            # After every row: large models take a minute each.
            write_whole(TABLE, _json({**table(), **found}).encode())
    if not asked.write:
        sys.stdout.write(_json(found))


def _json(rows: dict[str, TrainingMemory]) -> str:
    return Table(dict(sorted(rows.items()))).model_dump_json(indent=1) + "\n"


def _configured(catalogue: Catalogue) -> list[str]:
    """The base models whose configurations are known."""
    return [name for name in catalogue.base_models if (CONFIGS / f"{name}.json").is_file()]


def _row(row_id: str, catalogue: Catalogue) -> TrainingMemory:
    settings = Settings(TABLE_REWARD)
    spec = _resolved(_small_spec(row_id, settings, catalogue), catalogue)
    method, (num_frames, height, width) = settings.method, required_size(spec.video)
    return TrainingMemory(
        width=width,
        height=height,
        num_frames=num_frames,
        frames_scored=method.frames.mode,
        differentiable_steps=method.differentiable_steps,
        batch_size=method.batch_size,
        guidance_gradient=method.guidance_gradient,
        adapter_rank=spec.adapter.rank,
        precision="bf16",
        reward=TABLE_REWARD,
        basis=BASIS,
        bytes=estimate(spec, catalogue),
    )


def _document(asked: Asked, catalogue: Catalogue) -> JsonValue:
    if asked.spec is None:
        return _small_spec(str(asked.base_model), asked.settings, catalogue)
    return read_spec(asked.spec)


def _small_spec(base_model: str, settings: Settings, catalogue: Catalogue) -> JsonValue:
    """A job of one video a step with the given base model, and nothing besides that takes memory."""
    row = find_row(base_model, catalogue.base_models)
    image = {"image": "first.png"} if row is not None and row.needs_image else {}
    prompts: list[JsonValue] = [
        {"prompt": "a boat on a lake", "heldout": False, **image},
        {"prompt": "a boat on a river", "heldout": True, **image},
    ]
    return {
        "base_model": base_model,
        "method": settings.method.model_dump(mode="json"),
        "rewards": [{"reward": settings.reward}],
        "guards": [],
        "prompts": {"inline": prompts},
        "video": dict(settings.video),
        "budget": {"max_steps": 1},
    }


def _resolved(document: JsonValue, catalogue: Catalogue) -> JobSpec:
    try:
        return check(document, catalogue, lambda _prompt_set: None)
    except InvalidSpec as error:
        raise SpecUnusable(
            str(error),
            hint="Correct these fields. Weights need not be installed where vader_core/rows/configs has "
            "the model's configuration.",
        ) from error


def _text(found: MemoryEstimate) -> str:
    lines = [
        *((f"weights: {name}", size) for name, size in found.base_model.items()),
        ("weights: rewards", found.rewards),
        ("adapter", found.adapter),
        ("gradients", found.gradients),
        ("optimiser", found.optimiser),
        *((f"stage: {name}", size) for name, size in found.stages.items()),
        ("training: weights, adapter and the largest stage", found.training),
        ("loading: all weights, before the text encoders leave", found.loading),
        ("peak", found.peak),
    ]
    table = "".join(f"{name:<56}{size / _GIB:>9.2f} GiB\n" for name, size in lines)
    return f"{table}{BASIS}\n"
