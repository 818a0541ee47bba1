"""Base models: diffusers pipelines from local folders, frozen and ready to be sampled from.

Letters: B videos, C channels, f latent frames, F frames, H and W sizes.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers.pipelines
import torch
from PIL import Image
from torch import nn

from vader_core import weights_lock
from vader_core.catalogue import BaseModelRow, Variant
from vader_core.decoders import Decoder, decode
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable, WeightsUnreadable
from vader_core.families import family_of
from vader_core.families.family import Conditions, Embeds, Family, Request
from vader_core.first_images import read_first_image
from vader_core.spec import Prompt, Video
from vader_core.variants import as_variant, merge_variant
from vader_core.weights import load_model, reading

# The libraries whose classes a model_index.json may name, besides the pipelines of this package.
_LIBRARIES = ("diffusers", "transformers")
_OWN_PIPELINES = "vader_core.pipelines."
_INDEX = "model_index.json"


@dataclass
class BaseModel:
    """A frozen pipeline; nothing in it but an adapter ever learns.

    `images` is the folder that the prompts' first images lie in. `denoiser_forwards` counts the denoiser's
    work in forward-equivalents: one video and guidance branch is 1, with its backward pass 3, with
    checkpoints 4. `prediction_shapes` are those of the denoiser's outputs, by those of its inputs.
    """

    row: BaseModelRow
    family: Family
    pipeline: Any
    compute: Compute
    images: Path | None = None
    denoiser_forwards: int = 0
    prediction_shapes: dict[tuple[Any, ...], list[tuple[int, ...]]] = field(
        default_factory=dict, repr=False
    )
    _embeds: dict[tuple[str, str | None], Embeds] = field(default_factory=dict, repr=False)

    @property
    def denoisers(self) -> dict[str, Any]:
        """The parts of the pipeline that may learn, by name, in the order of their use."""
        parts = {name: getattr(self.pipeline, name, None) for name in self.family.denoisers}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def denoiser(self) -> Any:
        """The first of them."""
        return next(iter(self.denoisers.values()))

    @property
    def decoder(self) -> Decoder:
        return self.family.decoder(self.pipeline)

    def latents_shape(self, video: Video, *, batch: int) -> tuple[int, ...]:
        """The shape of the noise for `batch` videos of the resolved size `video`, in the pipeline's own layout."""
        return self.family.latents_shape(self.pipeline, video, batch=batch)

    def conditions(self, prompts: Sequence[Prompt], video: Video) -> Conditions:
        """What the videos of `prompts` are made from, one row per prompt.

        Texts are encoded one by one, so that a row does not depend on its neighbours, and only once.
        Raises `KeyError` for a text that was not encoded before `drop_text_encoders`, and
        `SpecUnusable` for a first image that is missing or broken.
        """
        cond = _stacked([self._embed_prompt(prompt, video) for prompt in prompts])
        uncond = _stacked([self._embed(video.negative_prompt)] * len(prompts))
        images = [self._image(prompt, video) for prompt in prompts if self.row.needs_image]
        return Conditions(cond, uncond, images or None)

    def encode(self, prompts: Sequence[Prompt], video: Video) -> None:
        """Encodes `prompts` and the negative prompt, to be used after `drop_text_encoders`.

        Text encoders that were dropped are loaded again where a text is new.
        """
        sees = self.family.text_sees_image
        wanted = {(prompt.prompt, prompt.image if sees else None) for prompt in prompts}
        if not {(video.negative_prompt, None), *wanted} <= self._embeds.keys():
            self._bring_back_text_encoders()
        self._embed(video.negative_prompt)
        for prompt in prompts:
            self._embed_prompt(prompt, video)

    def _embed_prompt(self, prompt: Prompt, video: Video) -> Embeds:
        if not self.family.text_sees_image:
            return self._embed(prompt.prompt)
        return self._embed(
            prompt.prompt, prompt.image, functools.partial(self._image, prompt, video)
        )

    def _embed(
        self,
        text: str,
        name: str | None = None,
        read_image: Callable[[], Image.Image | None] = lambda: None,
    ) -> Embeds:
        """`name` is that of the first image that the text goes with, where the text encoder sees it."""
        if (text, name) not in self._embeds:
            if getattr(self.pipeline, "text_encoder", self) is None:
                raise KeyError(f"{text!r} was not encoded before the text encoder was dropped")
            with torch.no_grad():
                if self.family.text_sees_image:
                    embeds = self.family.encode_seen(
                        self.pipeline, text, read_image(), self.compute
                    )
                else:
                    embeds = self.family.encode(self.pipeline, text, self.compute)
            self._embeds[text, name] = embeds
        return self._embeds[text, name]

    def _image(self, prompt: Prompt, video: Video) -> Image.Image:
        if prompt.image is None or self.images is None:
            raise SpecUnusable(
                f"{self.row.id} goes from image to video: {prompt.prompt!r} has no first image.",
                hint="Give every prompt an `image`, and the trainer their folder with --images.",
            )
        return read_first_image(self.images / prompt.image, video)

    def drop_text_encoders(self) -> None:
        """Frees the text encoders' memory. Embeddings that were computed stay."""
        for name in self.pipeline.components:
            if name.startswith("text_encoder"):
                setattr(self.pipeline, name, None)

    def _bring_back_text_encoders(self) -> None:
        folder = self.row.folder
        expected = "the text encoders that were there before"
        with reading(folder, needs=[_INDEX], expected=expected):
            for name, entry in json.loads((folder / _INDEX).read_text(encoding="utf-8")).items():
                gone = name.startswith("text_encoder") and getattr(self.pipeline, name) is None
                if gone and entry[0]:
                    part = _part(folder, name, entry, self.family, self.compute, expected)
                    setattr(self.pipeline, name, part.to(self.compute.device))

    def run(self, conditions: Conditions, noise: torch.Tensor, video: Video) -> torch.Tensor:
        """The latents (B, C, f, H, W) that the pipeline's own call makes of `noise`, in the present grad mode.

        Raises `ValueError` for noise of another shape than `latents_shape` gives.
        """
        expected = self.latents_shape(video, batch=len(conditions))
        if tuple(noise.shape) != expected:
            raise ValueError(f"The noise has shape {tuple(noise.shape)}, not {expected}.")
        noise = noise.to(self.compute.device, self.compute.precise_dtype)
        request = Request(conditions, noise, video, self.row.call)
        pipeline_class: Any = type(self.pipeline)
        undecorated = pipeline_class.__call__.__wrapped__
        output = undecorated(self.pipeline, **self.family.call(self.pipeline, request))
        return self.family.to_grid(self.pipeline, self.family.result(output), video)

    def decode(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        *,
        chunk_frames: int = 8,
    ) -> torch.Tensor:
        """The chosen frames (B, F, 3, H, W) in [0, 1], float32 or more precise.

        `frame_indices_BF` is int64 and rises within a video (`vader_core.frames`). Differentiable
        with respect to the latents; `chunk_frames` bounds the memory of that gradient and changes
        nothing else (`vader_core.decoders`).
        """
        return decode(self.decoder, latents_BCfHW, frame_indices_BF, chunk_frames=chunk_frames)


def _stacked(rows: list[Embeds]) -> Embeds:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def load(
    row: BaseModelRow,
    compute: Compute,
    *,
    variant: Variant | None = None,
    images: Path | None = None,
) -> BaseModel:
    """Loads the pipeline of `row` on `compute`, frozen and in evaluation mode, as `variant` where given.

    The denoiser and the text encoders get `compute.dtype`; the autoencoder at least float32. Only
    safetensors files in `row.folder` are read, and no code.
    Raises `WeightsUnreadable` where the folder is missing, incomplete or of another pipeline class.
    """
    row = row if variant is None else as_variant(row, variant)
    family = family_of(row)
    weights_lock.check(row.folder, row.weights)
    expected = f"a {row.pipeline_class} folder with safetensors weights"
    with reading(row.folder, needs=[_INDEX], expected=expected):
        index = json.loads((row.folder / _INDEX).read_text(encoding="utf-8"))
        if index["_class_name"] not in {row.pipeline_class, *family.also_reads}:
            raise ValueError(f"it holds a {index['_class_name']}")
        parts = {
            name: _part(row.folder, name, entry, family, compute, expected) if entry[0] else None
            for name, entry in index.items()
            if isinstance(entry, list)
        }
        pipeline_class = _pipeline_class(row)
        pipeline = pipeline_class.from_pretrained(row.folder, local_files_only=True, **parts)
    _reschedule(pipeline, row.scheduler)
    family.prepare(pipeline, row)
    if variant is not None:
        merge_variant(pipeline, variant)
    pipeline.to(compute.device)
    pipeline.set_progress_bar_config(disable=True)
    return BaseModel(row, family, pipeline, compute, images)


def _pipeline_class(row: BaseModelRow) -> Any:
    for module in ("diffusers", f"{_OWN_PIPELINES}{row.family}"):
        try:
            return getattr(importlib.import_module(module), row.pipeline_class)
        except (AttributeError, ImportError):
            continue
    raise WeightsUnreadable(
        f"There is no pipeline class {row.pipeline_class}.",
        hint=f"Correct `pipeline_class` of {row.id!r} in the catalogue.",
    )


def _part(
    folder: Path,
    name: str,
    entry: list[str],
    family: Family,
    compute: Compute,
    expected: str,
) -> Any:
    """One part of a pipeline: a model, a tokenizer, a scheduler or an image processor."""
    library, class_name = entry
    if hasattr(diffusers.pipelines, library):
        # A class that diffusers keeps with its pipeline, and names by the pipeline's folder.
        library = f"diffusers.pipelines.{library}"
    elif library not in _LIBRARIES and not library.startswith(_OWN_PIPELINES):
        raise ValueError(f"its part {name} is of the library {library!r}")
    part_class = getattr(importlib.import_module(library), class_name)
    if not issubclass(part_class, nn.Module):
        return part_class.from_pretrained(folder, subfolder=name, local_files_only=True)
    precise = name in family.precise_parts
    return load_model(
        part_class,
        folder,
        dtype=compute.precise_dtype if precise else compute.dtype,
        expected=expected,
        subfolder=name,
    )


def _reschedule(pipeline: Any, changes: dict[str, Any]) -> None:
    """Gives the pipeline's scheduler another configuration, or another class by `_class_name`."""
    if not changes:
        return
    scheduler = pipeline.scheduler
    name = changes.get("_class_name", type(scheduler).__name__)
    scheduler_class = getattr(importlib.import_module("diffusers"), name)
    options = {key: value for key, value in changes.items() if key != "_class_name"}
    pipeline.scheduler = scheduler_class.from_config(scheduler.config, **options)
