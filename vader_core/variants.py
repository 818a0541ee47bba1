"""Few-step and guidance-distilled forms of a base model: a LoRA merged into it before training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from vader_core import weights_lock
from vader_core.catalogue import BaseModelRow, Variant
from vader_core.weights import reading


def as_variant(row: BaseModelRow, variant: Variant) -> BaseModelRow:
    """`row` with the scheduler and the call of its `variant`."""
    return row.model_copy(
        update={
            "scheduler": {**row.scheduler, **variant.scheduler},
            "call": {**row.call, **variant.call},
        }
    )


def merge_variant(pipeline: Any, variant: Variant) -> None:
    """Merges the LoRA of `variant` into the weights of `pipeline`; nothing of it stays switchable.

    Raises `WeightsUnreadable` where a file of it is missing or does not fit the pipeline.
    """
    if variant.file is None:
        return
    # The name may have folders in it; what was fetched is the repository's folder.
    depth = len(Path(variant.weight_name or variant.file.name).parts)
    weights_lock.check(variant.file.parents[depth - 1], variant.weights)
    merging: dict[str, Any] = {"lora_scale": variant.lora_scale}
    with _reading(pipeline, variant.file):
        _load(pipeline, variant.file)
        if variant.second_file is not None:
            with _reading(pipeline, variant.second_file):
                _load(pipeline, variant.second_file, load_into_transformer_2=True)
            # The pipeline's own default is the first expert alone.
            merging["components"] = ["transformer", "transformer_2"]
        pipeline.fuse_lora(**merging)
        pipeline.unload_lora_weights()


def _reading(pipeline: Any, file: Path) -> AbstractContextManager[None]:
    expected = f"LoRA files that {type(pipeline).__name__} loads"
    return reading(file.parent, needs=[file.name], expected=expected)


def _load(pipeline: Any, file: Path, **options: bool) -> None:
    pipeline.load_lora_weights(file.parent, weight_name=file.name, local_files_only=True, **options)
