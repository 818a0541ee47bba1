"""The command `score`: tries a reward on a few videos and writes what came of it as one JSON file.

The request is checked before torch is imported, which takes seconds. Free of torch itself.
"""

from __future__ import annotations

import importlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, ValidationError

from vader_core.catalogue import Catalogue, RewardRow, find_row
from vader_core.errors import EXIT_DONE, SpecUnusable, TrainerError, WeightsUnreadable
from vader_core.faults import Fault, InvalidSpec, shape_faults
from vader_core.files import write_whole
from vader_core.order import storage_fault
from vader_core.row_faults import WEIGHTS_NOT_INSTALLED, unknown_row
from vader_core.scoring import (
    ScoreFailure,
    ScoreOutput,
    ScoreRequest,
    ScoreResult,
    VideoAsked,
    scoring_faults,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """One call of the command. Videos are found relative to the request's folder; `started` is the
    process's first `time.monotonic()`."""

    request: Path
    out: Path
    catalogue: Path | None
    weights: Path
    device: str
    threads: int | None
    started: float


def run(order: Order) -> int:
    """The exit status: 0 with a result in `out`, else that of the error in it."""
    status = EXIT_DONE
    try:
        output = ScoreOutput(result=_score(order))
    except TrainerError as error:
        _log.error("%s: %s %s", error.code, error.message, error.hint)
        output, status = ScoreOutput(error=_failure(error)), error.exit_status
    try:
        write_whole(order.out, output.model_dump_json().encode())
    except OSError as error:
        unwritten = storage_fault(error) or SpecUnusable(f"{order.out} cannot be written: {error}")
        _log.error("%s: %s", unwritten.code, unwritten.message)
        return unwritten.exit_status
    return status


def _score(order: Order) -> ScoreResult:
    catalogue = Catalogue.load(order.catalogue, weights_dir=order.weights)
    request, row = _checked(_read(order.request), catalogue)
    # Imported only now: a faulty request is answered without waiting for torch.
    scorer = importlib.import_module("vader_core.scorer")
    result: ScoreResult = scorer.score(
        request, row, folder=order.request.parent, device=order.device, threads=order.threads
    )
    return result.model_copy(update={"seconds": time.monotonic() - order.started})


def _read(path: Path) -> ScoreRequest:
    try:
        document: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SpecUnusable(
            f"{path} is not a readable JSON file: {error}", hint="Give the path of a request."
        ) from error
    try:
        return ScoreRequest.model_validate(document)
    except ValidationError as error:
        raise _unusable(shape_faults(error, document)) from error


def _checked(request: ScoreRequest, catalogue: Catalogue) -> tuple[ScoreRequest, RewardRow]:
    row = find_row(request.reward, catalogue.rewards)
    if row is None:
        fault = unknown_row("reward", request.reward, catalogue.rewards, "/reward")
        raise _unusable([fault])
    videos: dict[int, VideoAsked] = dict(enumerate(request.videos))
    faults = scoring_faults(row, request.params, videos)
    if {fault.code for fault in faults} == {WEIGHTS_NOT_INSTALLED}:
        hint = "Fetch them into the folder given by --weights."
        raise WeightsUnreadable(faults[0].detail, hint=hint)
    if faults:
        raise _unusable(faults)
    return request, row


def _unusable(faults: list[Fault]) -> SpecUnusable:
    hint = "Correct the fields at these JSON pointers and start again."
    return SpecUnusable(str(InvalidSpec(faults)), hint=hint)


def _failure(error: TrainerError) -> ScoreFailure:
    return ScoreFailure(
        code=error.code,
        message=error.message,
        hint=error.hint,
        fault=error.fault,
        retryable=error.retryable,
    )
