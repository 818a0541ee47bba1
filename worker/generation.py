"""What an attempt at a generation does: run `vader_core generate` with the stored adapter, keep its videos."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from domain import generations
from domain.generation_table import Generation
from domain.settings import Settings
from vader_core.failure import Failure
from vader_core.generate_command import RESULT
from vader_core.generating import GenerationOutput, GenerationSpec
from worker.short_attempt import Input, Product, Work


def work_of(row: Generation, settings: Settings) -> Work:
    """For the generation `row`."""
    spec = GenerationSpec.model_validate(row.spec)
    here = spec.model_copy(update={"adapter": spec.adapter and generations.ADAPTER_FOLDER})
    return Work(
        verb="generate",
        worker="generator",
        request=here.model_dump(mode="json"),
        inputs=[Input(one["path"], one["key"], one["sha256"]) for one in row.inputs],
        options={"--device": settings.generate_device, "--threads": settings.generate_threads},
        limit_s=settings.generate_limit_s,
        need_less="Ask for fewer, shorter or smaller videos.",
        read=lambda out: _read(out, spec, generations.attempt_prefix(row.id, row.attempt)),
    )


def _read(out: Path, spec: GenerationSpec, prefix: str) -> Product | Failure | None:
    try:
        output = GenerationOutput.model_validate_json((out / RESULT).read_bytes())
    except (OSError, ValidationError):
        return None
    if output.error is not None:
        return output.error
    result = output.result
    wanted = [(role, seed) for role in spec.roles for seed in spec.every_seed]
    if result is None or [(video.role, video.seed) for video in result.videos] != wanted:
        return None
    files = [video.file for video in result.videos]
    files += [] if result.sheet is None else [result.sheet]
    size_bytes = sum(file.size_bytes for file in files)
    columns = {"result": result.model_dump(mode="json"), "size_bytes": size_bytes}
    return Product(columns, files, prefix)
