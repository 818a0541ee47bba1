"""Brings the newest whole checkpoint of a job's earlier attempts into the run folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from functools import partial

from domain.claims import Claim
from domain.db import utc_now
from domain.errors import ArtifactExpired, ChecksumMismatch
from domain.store import ObjectStore
from vader_core.lines import Checkpoint, Counters, File
from worker import transfer
from worker.workspace import Workspace

log = logging.getLogger(__name__)


def fetch_checkpoint(
    claim: Claim,
    space: Workspace,
    store: ObjectStore,
    *,
    give_up: Callable[[], bool],
    set_aside: Callable[[int, str], None],
) -> Checkpoint | None:
    """The checkpoint that now lies in the run folder, None where there is none to go on from.

    One whose bytes are not those of its record gives way to the one before it, after
    `set_aside(step, message)` was told.
    """
    for ref in claim.checkpoints:
        folder = f"checkpoints/step-{ref.step:06d}"
        files = [File.model_validate(file) for file in ref.files]
        try:
            for file in files:
                path = transfer.inside(space.run, f"{folder}/{file.path}")
                key = f"{ref.prefix}/{file.path}"
                fetch = partial(store.download, key, path, sha256=file.sha256)
                transfer.while_away(fetch, give_up=give_up)
        except (ChecksumMismatch, ArtifactExpired) as error:
            shutil.rmtree(space.run / folder, ignore_errors=True)
            set_aside(ref.step, f"The checkpoint of step {ref.step} is not used: {error}")
            continue
        here = [file.model_copy(update={"path": f"{folder}/{file.path}"}) for file in files]
        counters = Counters.model_validate(ref.counters)
        return Checkpoint(at=utc_now(), step=ref.step, path=folder, files=here, counters=counters)
    return None
