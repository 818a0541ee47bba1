"""What commands share that read one JSON request and answer with one JSON file: `score`, `generate`.

The request is checked before torch is imported, which takes seconds. Free of torch itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from vader_core.errors import EXIT_DONE, SpecUnusable, TrainerError, WeightsUnreadable
from vader_core.failure import Answer, Failure, Result
from vader_core.faults import Fault, InvalidSpec
from vader_core.files import write_whole
from vader_core.order import storage_fault
from vader_core.row_faults import WEIGHTS_NOT_INSTALLED

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """One call of a command. Files that the request names are found relative to its folder; `started` is
    the process's first `time.monotonic()`. `out` is the answer's file, or the folder that it goes into."""

    request: Path
    out: Path
    catalogue: Path | None
    weights: Path
    device: str
    threads: int | None
    started: float


def answer(work: Callable[[], Result], kind: type[Answer[Result]], *, into: Path) -> int:
    """The exit status: 0 with the result of `work` in the file `into`, else that of the error in it."""
    status = EXIT_DONE
    try:
        said = kind(result=work())
    except TrainerError as error:
        _log.error("%s: %s %s", error.code, error.message, error.hint)
        said, status = kind(error=Failure.of(error)), error.exit_status
    try:
        write_whole(into, said.model_dump_json().encode())
    except OSError as error:
        unwritten = storage_fault(error) or SpecUnusable(f"{into} cannot be written: {error}")
        _log.error("%s: %s", unwritten.code, unwritten.message)
        return unwritten.exit_status
    return status


def read_document(path: Path) -> JsonValue:
    """The JSON of the file. Raises `SpecUnusable`."""
    try:
        document: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SpecUnusable(
            f"{path} is not a readable JSON file: {error}", hint="Give the path of a request."
        ) from error
    return document


def unusable(faults: list[Fault]) -> TrainerError:
    """The error of a request with these faults: the operator's where nothing but weights is missing."""
    if {fault.code for fault in faults} == {WEIGHTS_NOT_INSTALLED}:
        hint = "Fetch them into the folder given by --weights."
        return WeightsUnreadable(faults[0].detail, hint=hint)
    hint = "Correct the fields at these JSON pointers and start again."
    return SpecUnusable(str(InvalidSpec(faults)), hint=hint)
