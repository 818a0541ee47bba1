"""What a reader must know to load a trained adapter, from the base model and the adapter at hand."""

from __future__ import annotations

import inspect

from vader_core.adapter import LoraAdapter, loads_in_diffusers
from vader_core.base_models import BaseModel
from vader_core.snippet import Loading
from vader_core.spec import Video


def loading_of(base: BaseModel, adapter: LoraAdapter, video: Video) -> Loading:
    """For videos of the resolved settings `video`."""
    pipeline_class = type(base.pipeline)
    package = pipeline_class.__module__.rpartition(".")[0]
    taken = inspect.signature(pipeline_class.__call__).parameters
    negative = {"negative_prompt": video.negative_prompt} if video.negative_prompt else {}
    return Loading(
        module="diffusers" if package.startswith("diffusers.") else package,
        folders=adapter.folders,
        in_diffusers=loads_in_diffusers(base),
        takes_prompt="prompt" in taken,
        arguments={**negative, **base.family.settings(base.pipeline, video), **base.row.call},
    )
