"""Any other diffusers text-to-video pipeline whose call is of the usual form: found out, not described.

What the usual form is, `vader_core.families.generic_probe` says and checks when a pipeline is loaded:
from its signatures, and by a dry run of two steps of the smallest legal video with a stand-in for the
denoiser. Whatever does not fit is named in one error, so that no job runs on a guess.

Letters: B videos, C channels, f latent frames, H and W latent sizes.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import JsonValue
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders import Decoder
from vader_core.devices import Compute
from vader_core.families.family import (
    Embeds,
    Family,
    GuidanceCalls,
    Request,
    required_size,
)
from vader_core.families.generic_decoder import decoder_of
from vader_core.families.generic_probe import (
    NEGATIVE,
    encode_options,
    found_out,
    frames_argument,
    own_arguments,
    returned_embeds,
)
from vader_core.spec import Video


class Generic(Family):
    """A text is encoded once as prompt and once as negative prompt: some pipelines treat them differently."""

    denoisers = ("transformer", "unet")

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        pipeline.row_call = dict(row.call)
        pipeline.findings = found_out(pipeline, row, self)

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        encoded = pipeline.encode_prompt(
            prompt=text,
            negative_prompt=text,
            device=compute.device,
            **encode_options(pipeline),
        )
        named = zip(returned_embeds(pipeline), encoded, strict=True)
        return {name: rows for name, rows in named if rows is not None}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        frames, height, width = required_size(video)
        asked = {
            **pipeline.findings.latents_arguments,
            "batch_size": batch,
            frames_argument(pipeline.prepare_latents): frames,
            "height": height,
            "width": width,
            "device": torch.device("meta"),  # only the shape is wanted
            "generator": None,
            "latents": None,
        }
        return tuple(pipeline.prepare_latents(**asked).shape)

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        conditions = request.conditions
        cond = {name: rows for name, rows in conditions.cond.items() if NEGATIVE not in name}
        guided = self.is_guided(pipeline, request.video)
        uncond = {
            name: rows for name, rows in conditions.uncond.items() if NEGATIVE in name and guided
        }
        known = own_arguments(pipeline, all_names=True)
        arguments = {
            **own_arguments(pipeline),
            **cond,
            **uncond,
            "latents": request.latents,
            **self.settings(pipeline, request.video),
            "output_type": "latent",
            "return_dict": False,
        }
        return {
            **{name: value for name, value in arguments.items() if name in known},
            **request.constants,
        }

    def settings(self, pipeline: Any, video: Video) -> dict[str, JsonValue]:
        # Pipelines have one name or another for the length and for the rate.
        names = {
            "frames": video.num_frames,
            "fps": video.fps,
            "frame_rate": video.fps,
            **super().settings(pipeline, video),
        }
        known = own_arguments(pipeline, all_names=True)
        return {name: value for name, value in names.items() if name in known}

    def calls(self, pipeline: Any, video: Video) -> GuidanceCalls:
        findings = pipeline.findings
        guided: GuidanceCalls = (
            findings.guided if self.is_guided(pipeline, video) else findings.plain
        )
        return guided

    def decoder(self, pipeline: Any) -> Decoder:
        return decoder_of(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        lists = [part for part in denoiser.children() if isinstance(part, nn.ModuleList)]
        middle = getattr(denoiser, "mid_block", None)
        return [*(block for part in lists for block in part), *([middle] if middle else [])]


FAMILY = Generic()
