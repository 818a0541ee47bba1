"""What a family of base models is: how its pipelines are called, guided and decoded.

Letters: B videos, C channels, f latent frames, F frames, H and W sizes, L text tokens, D text width.

Samplers are not described: `vader_core.rollout` runs the pipeline's own. A family says what that call
takes, which parts of the pipeline learn and in which order they are called within a step, what the
latents look like and how they become frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from PIL import Image
from pydantic import JsonValue
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders import Decoder
from vader_core.devices import Compute
from vader_core.spec import Video

Branch = Literal["cond", "uncond"]
# The denoiser's calls of one guided step in order, each with the branches stacked along its batch.
GuidanceCalls = tuple[tuple[Branch, ...], ...]
STACKED: GuidanceCalls = (("uncond", "cond"),)
SEPARATE: GuidanceCalls = (("cond",), ("uncond",))
UNGUIDED: GuidanceCalls = (("cond",),)
# Named tensors that stand for a text, one row per video: arguments of the pipeline's call.
Embeds = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Conditions:
    """What B videos are made from: their prompts, the negative prompt, and first images where there are any.

    Images are RGB and of the video's size.
    """

    cond: Embeds
    uncond: Embeds
    images: list[Image.Image] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.cond.values()))) if self.cond else len(self.images or [])

    def each(self) -> list[Conditions]:
        """The same, video by video."""

        def row(embeds: Embeds, index: int) -> Embeds:
            return {name: rows[index : index + 1] for name, rows in embeds.items()}

        return [
            Conditions(
                row(self.cond, index),
                row(self.uncond, index),
                None if self.images is None else [self.images[index]],
            )
            for index in range(len(self))
        ]


@dataclass(frozen=True)
class Request:
    """One call of a pipeline. `latents` is the noise in the pipeline's own layout, `constants` the row's `call`."""

    conditions: Conditions
    latents: torch.Tensor
    video: Video
    constants: Mapping[str, JsonValue]


class Family(ABC):
    """What differs between pipelines. `pipeline` is an instance of the family's diffusers class.

    `denoisers` are the pipeline's parts that may learn, in the order of their use; a pipeline may lack
    all but one of them. `precise_parts` compute in float32 or better whatever the denoiser computes in.
    `never_split` names arguments of the denoiser that are not shared out when a stacked call is split.
    `one_video_per_call` says that the pipeline's call takes one first image, so one video at a time.
    `also_reads` are other pipeline classes whose folders this family's class reads as well. `experts`
    says what users call each denoiser of a pipeline that has several. `text_sees_image` says that the
    text encoder is shown the first image too, so that `encode_seen` takes the place of `encode`.
    """

    denoisers: tuple[str, ...] = ("transformer",)
    guidance_calls: GuidanceCalls = SEPARATE
    precise_parts: frozenset[str] = frozenset({"vae"})
    never_split: frozenset[str] = frozenset()
    one_video_per_call: bool = False
    also_reads: frozenset[str] = frozenset()
    experts: Mapping[str, str] = MappingProxyType({})
    text_sees_image: bool = False

    @abstractmethod
    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        """The embeddings of one text, under the names of the pipeline's arguments, each with one row."""

    def encode_seen(
        self, pipeline: Any, text: str, image: Image.Image | None, compute: Compute
    ) -> Embeds:
        """What `encode` gives, of a text that goes with a first image; the negative prompt has none."""
        del image
        return self.encode(pipeline, text, compute)

    @abstractmethod
    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        """The shape of the `latents` argument of the pipeline's call for `batch` videos."""

    @abstractmethod
    def decoder(self, pipeline: Any) -> Decoder:
        """How latents (B, C, f, H, W) become frames."""

    @abstractmethod
    def blocks(self, denoiser: Any) -> list[nn.Module]:
        """The blocks of `denoiser` that are worth an activation checkpoint each."""

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        """Settles what a freshly loaded pipeline needs before it is used. Most need nothing."""
        del pipeline, row

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        """The keyword arguments of the pipeline's call."""
        conditions, video = request.conditions, request.video
        images = {} if conditions.images is None else {"image": conditions.images}
        return {
            **conditions.cond,
            **{f"negative_{name}": rows for name, rows in conditions.uncond.items()},
            **images,
            "latents": request.latents,
            **self.settings(pipeline, video),
            "output_type": "latent",
            "return_dict": False,
            **request.constants,
        }

    def settings(self, pipeline: Any, video: Video) -> dict[str, JsonValue]:
        """What the pipeline's call is told of `video`, under its own names."""
        del pipeline
        return {
            "width": video.width,
            "height": video.height,
            "num_frames": video.num_frames,
            "num_inference_steps": video.inference_steps,
            "guidance_scale": video.guidance_scale,
        }

    def result(self, output: Any) -> torch.Tensor:
        """The latents in what the pipeline's call returns."""
        latents: torch.Tensor = output[0]
        return latents

    def to_grid(self, pipeline: Any, latents: torch.Tensor, video: Video) -> torch.Tensor:
        """The pipeline's latents as (B, C, f, H, W), differentiable."""
        del pipeline, video
        return latents

    def is_guided(self, pipeline: Any, video: Video) -> bool:
        """Whether the pipeline makes the unconditional calls at this guidance scale."""
        del pipeline
        return video.guidance_scale is not None and video.guidance_scale > 1

    def calls(self, pipeline: Any, video: Video) -> GuidanceCalls:
        """The denoiser's calls of one step in order, each with the branches stacked along its batch."""
        return self.guidance_calls if self.is_guided(pipeline, video) else UNGUIDED

    def trained(self, pipeline: Any, video: Video, *, differentiable_steps: int) -> tuple[str, ...]:
        """The denoisers that the last `differentiable_steps` steps call: those that can learn."""
        del video, differentiable_steps
        return tuple(name for name in self.denoisers if getattr(pipeline, name, None) is not None)

    def comfyui(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """A denoiser's LoRA `state` under the names that ComfyUI reads; None where one has no such name."""
        del state
        return None


def required_size(video: Video) -> tuple[int, int, int]:
    """(frames, height, width) of a resolved video. Raises `ValueError` where one is missing."""
    if video.num_frames is None or video.height is None or video.width is None:
        raise ValueError("The video's size is not resolved: width, height and num_frames are due.")
    return video.num_frames, video.height, video.width
