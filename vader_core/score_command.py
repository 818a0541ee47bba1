"""The command `score`: tries a reward on a few videos and writes what came of it as one JSON file. Free of torch."""

from __future__ import annotations

import importlib
import time

from pydantic import JsonValue, ValidationError

from vader_core import short_command
from vader_core.catalogue import Catalogue, RewardRow, find_row
from vader_core.faults import shape_faults
from vader_core.row_faults import unknown_row
from vader_core.scoring import ScoreOutput, ScoreRequest, ScoreResult, VideoAsked, scoring_faults
from vader_core.short_command import Order, unusable


def run(order: Order) -> int:
    """The exit status: 0 with a result in `order.out`, else that of the error in it."""
    return short_command.answer(lambda: _score(order), ScoreOutput, into=order.out)


def _score(order: Order) -> ScoreResult:
    catalogue = Catalogue.load(order.catalogue, weights_dir=order.weights)
    request, row = _checked(short_command.read_document(order.request), catalogue)
    # Imported only now: a faulty request is answered without waiting for torch.
    scorer = importlib.import_module("vader_core.scorer")
    result: ScoreResult = scorer.score(
        request, row, folder=order.request.parent, device=order.device, threads=order.threads
    )
    return result.model_copy(update={"seconds": time.monotonic() - order.started})


def _checked(document: JsonValue, catalogue: Catalogue) -> tuple[ScoreRequest, RewardRow]:
    try:
        request = ScoreRequest.model_validate(document)
    except ValidationError as error:
        raise unusable(shape_faults(error, document)) from error
    row = find_row(request.reward, catalogue.rewards)
    if row is None:
        raise unusable([unknown_row("reward", request.reward, catalogue.rewards, "/reward")])
    videos: dict[int, VideoAsked] = dict(enumerate(request.videos))
    faults = scoring_faults(row, request.params, videos)
    if faults:
        raise unusable(faults)
    return request, row
