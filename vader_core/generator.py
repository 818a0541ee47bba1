"""Makes the videos of a generation, scores them and draws base and adapter side by side.

One video is sampled at a time, and rewards are loaded once the base model is gone: memory is that of the
larger of the two. Letters: F frames, H and W pixels, C = 3 channels.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers

from vader_core import adapter_loading, base_models, devices
from vader_core.adapter import LoraAdapter
from vader_core.base_models import BaseModel
from vader_core.catalogue import BaseModelRow, Catalogue, RewardRow, find_row
from vader_core.contact_sheet import PICTURES_PER_ROW, SheetRow, write_sheet
from vader_core.devices import Compute
from vader_core.errors import TrainerError
from vader_core.evaluation import Pair, videos_of
from vader_core.files import described
from vader_core.generating import (
    GeneratedVideo,
    GenerationResult,
    GenerationSpec,
    OutputScore,
    Role,
)
from vader_core.library_errors import as_trainer_error
from vader_core.scorer import Shown, scores_of
from vader_core.spec import Video
from vader_core.video_files import as_bytes, write_mp4, write_strip

_log = logging.getLogger(__name__)
_SHEET = "sheet.png"
_NEED_LESS = "Ask for fewer, shorter or smaller videos."
_DECODED_AT_ONCE = 8


@dataclass(frozen=True)
class Places:
    """Folders: of the adapter (None where none is used), of first images, and for what is made."""

    adapter: Path | None
    images: Path
    out: Path


@dataclass(frozen=True)
class _Made:
    """A video as it was sampled, and where its files lie."""

    role: Role
    pair: Pair
    frames_FHWC: np.ndarray
    mp4: Path
    strip: Path


def generate(
    spec: GenerationSpec, catalogue: Catalogue, places: Places, *, device: str, threads: int | None
) -> GenerationResult:
    """Makes everything that the resolved `spec` asks for in `places.out`; `seconds` is left to the caller.

    Raises a `TrainerError`, whatever it was.
    """
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    devices.make_deterministic()
    try:
        return _generate(spec, catalogue, places, devices.pick(device, "auto"))
    except TrainerError:
        raise
    except Exception as error:
        _log.exception("Nothing was generated.")
        raise as_trainer_error(error, of="generator", need_less=_NEED_LESS) from error


def _generate(
    spec: GenerationSpec, catalogue: Catalogue, places: Places, compute: Compute
) -> GenerationResult:
    row = find_row(spec.base_model or "", catalogue.base_models)
    if row is None:
        raise ValueError(f"the spec is not resolved: base model {spec.base_model!r}")
    made = list(_videos(spec, row, places, compute))
    # The pipeline's parts refer to each other.
    gc.collect()
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()
    scores = _scores(spec, made, catalogue, Compute(compute.device, torch.float32))
    sheet = places.out / _SHEET if len(spec.roles) > 1 else None
    if sheet is not None:
        _draw(sheet, spec, made, scores)
    for one in made:
        one.strip.unlink()
    return GenerationResult(
        videos=[
            GeneratedVideo(
                role=one.role,
                seed=one.pair.seed,
                file=described(one.mp4, run_folder=places.out),
                scores=scored,
            )
            for one, scored in zip(made, scores, strict=True)
        ],
        sheet=None if sheet is None else described(sheet, run_folder=places.out),
        device=str(compute.device),
        precision=str(compute.dtype).removeprefix("torch."),
        seconds=0.0,
    )


def _videos(
    spec: GenerationSpec, row: BaseModelRow, places: Places, compute: Compute
) -> Iterator[_Made]:
    """Every video, seed by seed for each role."""
    _log.info("loading %s on %s", row.id, compute.device)
    variant = row.variants[spec.variant] if spec.variant else None
    base = base_models.load(row, compute, variant=variant, images=places.images)
    adapter = None
    if places.adapter is not None:
        scale = 1.0 if spec.adapter_scale is None else spec.adapter_scale
        adapter = adapter_loading.load(base, places.adapter, scale=scale)
    base.encode([spec.shown], spec.video)
    base.drop_text_encoders()
    for role in spec.roles:
        for seed in spec.every_seed:
            pair = Pair(spec.shown, seed)
            with _as(role, adapter):
                frames_FCHW = _sampled(pair, base, spec.video)
            yield _written(role, pair, frames_FCHW, places.out, fps=spec.video.fps or 1)
            _log.info("the video of %s with seed %d is made", role, seed)


def _as(role: Role, adapter: LoraAdapter | None) -> AbstractContextManager[None]:
    return adapter.disabled() if role == "base" and adapter is not None else nullcontext()


def _sampled(pair: Pair, base: BaseModel, video: Video) -> torch.Tensor:
    """Frames (F, C, H, W) in [0, 1]."""
    return videos_of([pair], base, video, chunk_frames=_DECODED_AT_ONCE)[0]


def _written(role: Role, pair: Pair, frames_FCHW: torch.Tensor, out: Path, *, fps: int) -> _Made:
    name = f"{role}-s{pair.seed}"
    made = _Made(role, pair, as_bytes(frames_FCHW), out / f"{name}.mp4", out / f"{name}.png")
    write_mp4(made.mp4, frames_FCHW, fps=fps)
    write_strip(made.strip, frames_FCHW, pictures=PICTURES_PER_ROW)
    return made


def _scores(
    spec: GenerationSpec, made: Sequence[_Made], catalogue: Catalogue, compute: Compute
) -> list[list[OutputScore]]:
    """For each video its scores by every reward. Rewards that compare see the videos of one role."""
    found: list[list[OutputScore]] = [[] for _ in made]
    for asked in spec.rewards:
        row = find_row(asked.reward, catalogue.rewards)
        if row is None:
            raise ValueError(f"the spec is not resolved: reward {asked.reward!r}")
        _log.info("scoring by %s", row.id)
        for role in spec.roles:
            places = [i for i, one in enumerate(made) if one.role == role]
            shown = [Shown(made[i].pair.prompt, partial(_frames_of, made[i])) for i in places]
            scores = scores_of(shown, row, asked.params, compute)
            for i, score in zip(places, scores, strict=True):
                found[i].append(
                    OutputScore(reward=_name(row), score=score.score, reason=score.reason)
                )
    return found


def _frames_of(made: _Made) -> np.ndarray:
    return made.frames_FHWC


def _name(row: RewardRow) -> str:
    return f"{row.id}@{row.version}"


def _draw(
    sheet: Path,
    spec: GenerationSpec,
    made: Sequence[_Made],
    scores: Sequence[Sequence[OutputScore]],
) -> None:
    """Base over adapter for every seed, with their scores by the first reward."""
    by_role = {(one.role, one.pair.seed): i for i, one in enumerate(made)}

    def first_score(i: int) -> float | None:
        return scores[i][0].score if scores[i] else None

    rows = []
    for seed in spec.every_seed:
        base, adapter = by_role["base", seed], by_role["adapter", seed]
        rows.append(
            SheetRow(
                prompt=spec.prompt,
                seed=seed,
                base_score=first_score(base),
                adapter_score=first_score(adapter),
                base_strip=made[base].strip,
                adapter_strip=made[adapter].strip,
            )
        )
    scored_by = f", scored by {spec.rewards[0].reward}" if spec.rewards else ""
    write_sheet(sheet, rows, title=f"{spec.base_model}, scale {spec.adapter_scale:g}{scored_by}")
