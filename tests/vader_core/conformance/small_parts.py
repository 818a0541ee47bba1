"""What small random pipelines of several families have in common: their rows and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vader_core.catalogue import BaseModelRow

Model = TypeVar("Model", bound=nn.Module)


def small_row(
    folder: Path,
    family: str,
    pipeline_class: type,
    *,
    size: tuple[int, int],
    num_frames: int,
    **changes: Any,
) -> BaseModelRow:
    """The row of a pipeline that was saved in `folder`; `size` is (width, height).

    `changes` may have `frames_multiple` and `guidance_scale`.
    """
    multiple = changes.get("frames_multiple", 4)
    return BaseModelRow.model_validate(
        {
            "id": f"small-{folder.name}",
            "version": "1",
            "title": f"A small random {pipeline_class.__name__}",
            "family": family,
            "pipeline_class": pipeline_class.__name__,
            "weights": {"folder": str(folder)},
            "folder": str(folder),
            "licence": "Apache-2.0",
            "needs_image": "image" in family,
            "sizes": {
                "multiple": 16,
                "min_pixels": 16,
                "max_pixels": 64,
                "frames_multiple": multiple,
                "frames_offset": 1,
                "min_frames": 1,
                "max_frames": 2 * multiple + num_frames,
            },
            "defaults": {
                "width": size[0],
                "height": size[1],
                "num_frames": num_frames,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": changes.get("guidance_scale", 4.0),
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
        }
    )


def livelier(model: Model, factor: float = 2.0) -> Model:
    """Larger weights than a fresh model's, so that the output follows every input."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return model
