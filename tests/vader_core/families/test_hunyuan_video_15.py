"""HunyuanVideo 1.5's guider holds the scale; from an image only some sizes can be made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.vader_core.conformance import models_hunyuan_video_15
from vader_core import base_models
from vader_core.base_models import BaseModel
from vader_core.catalogue import BaseModelRow
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable
from vader_core.families.family import SEPARATE, UNGUIDED, Conditions, Request
from vader_core.resolve import with_defaults
from vader_core.spec import Video


def _loaded(row: BaseModelRow) -> BaseModel:
    return base_models.load(row, Compute(torch.device("cpu"), torch.float32))


@pytest.mark.parametrize(("scale", "calls"), [(1.0, UNGUIDED), (2.5, SEPARATE)])
def test_the_guider_is_told_the_scale_and_calls_accordingly(
    tmp_path: Path, scale: float, calls: object
) -> None:
    base = _loaded(models_hunyuan_video_15.build(tmp_path))
    video = with_defaults(Video(guidance_scale=scale), base.row)
    noise = torch.zeros(base.latents_shape(video, batch=1))
    arguments = base.family.call(base.pipeline, Request(Conditions({}, {}), noise, video, {}))
    assert "guidance_scale" not in arguments
    assert base.pipeline.guider.guidance_scale == scale
    assert base.pipeline.guider.num_conditions == len(base.family.calls(base.pipeline, video))
    assert base.family.calls(base.pipeline, video) == calls


def test_a_size_that_no_image_leads_to_is_refused_with_the_nearest(tmp_path: Path) -> None:
    base = _loaded(models_hunyuan_video_15.build_image(tmp_path))
    video = with_defaults(Video(width=64, height=32), base.row)
    conditions = Conditions({}, {}, [Image.new("RGB", (64, 32))])
    request = Request(conditions, torch.zeros(base.latents_shape(video, batch=1)), video, {})
    with pytest.raises(SpecUnusable, match="64x32") as caught:
        base.family.call(base.pipeline, request)
    width, height = map(int, caught.value.hint.rstrip(".").rpartition(" ")[2].split("x"))
    assert 1.5 < width / height < 2.5
    base.family.call(
        base.pipeline,
        dataclasses.replace(
            request, video=with_defaults(Video(width=width, height=height), base.row)
        ),
    )
