"""Stores what a trainer announces and then makes it visible.

Files come first, a folder's manifest last, then the row that points to it; so whatever a reader can see
is whole. Every key holds the attempt's number: nothing that another attempt stored is written over.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

from domain import artifacts
from domain.errors import ChecksumMismatch, Unavailable
from domain.objects import sha256_of
from domain.store import ObjectStore
from vader_core.lines import Checkpoint, Done, File, Sample, Sheet
from vader_core.spec import Checkpoints
from vader_core.strict import Strict
from worker import transfer
from worker.forward import Forwarder
from worker.lease import Lease, LeaseLost

log = logging.getLogger(__name__)
Artifact = Sample | Sheet | Checkpoint
MANIFEST = "manifest.json"


class Manifest(Strict):
    """What an attempt published; stored last, as the sign that all of it is there."""

    files: list[File]


class Uploads:
    """Stores artifacts in the order of their lines, in its own thread.

    A store that is away makes this wait, not the trainer. What could not be kept is worth a warning in
    the job's record; only the adapter is worth failing for. `checkpoints` says which of those are kept.
    """

    def __init__(
        self,
        *,
        lease: Lease,
        store: ObjectStore,
        run: Path,
        forwarder: Forwarder,
        checkpoints: Checkpoints,
        cancel_grace_s: float,
    ) -> None:
        self._lease, self._store, self._run = lease, store, run
        self._forwarder = forwarder
        self._checkpoints = checkpoints
        self._cancel_grace_s = cancel_grace_s
        self._prefix = artifacts.attempt_prefix(lease.job_id, lease.attempt)
        self._announced: queue.SimpleQueue[Artifact | None] = queue.SimpleQueue()
        self._give_up_at = float("inf")
        self._failure: Exception | None = None
        self._missing: dict[str, tuple[str, str]] = {}
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._announced.put(None)

    def put(self, artifact: Artifact) -> None:
        self._announced.put(artifact)

    def finish(self, *, patience_s: float) -> None:
        """Waits until all is stored; from now on a store that is away is waited for `patience_s`.

        Raises what nobody expected to happen on the way.
        """
        self._give_up_at = time.monotonic() + patience_s
        self._announced.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        for code, message in self._missing.values():
            log.warning("%s: %s", self._lease.name, message)
            self._forwarder.warn(code, message)

    def publish_adapter(self, done: Done) -> None:
        """Stores an adapter, reads every byte back, writes the manifest and makes it visible.

        Raises `ChecksumMismatch`, `Unavailable` or `LeaseLost`.
        """
        prefix = f"{self._prefix}/adapter"
        published = [_below(done.path, file) for file in done.files]
        for file, below in zip(done.files, published, strict=True):
            path = transfer.inside(self._run, file.path)
            key = f"{prefix}/{below.path}"
            self._patiently(partial(transfer.send_and_read_back, self._store, key, path, file))
        manifest = Manifest(files=published).model_dump_json(indent=2).encode()
        self._patiently(partial(self._put_manifest, manifest))
        self._lease.write(artifacts.add_adapter, line=done, prefix=prefix)

    def store_log(self, path: Path) -> None:
        """Keeps the trainer's human log, best effort: nothing else depends on it."""
        with path.open("rb") as stream:
            sha256 = sha256_of(stream)
        key = f"{artifacts.attempt_prefix(self._lease.job_id, self._lease.attempt)}/log.txt"
        file = File(path=path.name, size_bytes=path.stat().st_size, sha256=sha256)
        try:
            transfer.send(self._store, key, path, file)
        except (ChecksumMismatch, Unavailable) as error:
            log.warning("%s: its log was not kept: %s", self._lease.name, error)
            return
        self._lease.write(artifacts.add_log, key=key, file=file)

    def _put_manifest(self, manifest: bytes) -> None:
        key = artifacts.manifest_key(self._lease.job_id, self._lease.attempt)
        self._store.put_if_absent(key, manifest, content_type="application/json")

    def _work(self) -> None:
        while (artifact := self._announced.get()) is not None:
            try:
                self._keep(artifact)
                self._missing.pop(_name(artifact), None)
            except LeaseLost:
                return
            except (ChecksumMismatch, Unavailable) as error:
                # Often the trainer has meanwhile written the next sheet, or pruned the checkpoint: that
                # one's line follows. What is still missing at the end is worth a warning.
                message = f"The {artifact.type} of step {artifact.step} was not kept: {error}"
                self._missing[_name(artifact)] = (f"{artifact.type}_not_stored", message)
            except Exception as failure:
                self._failure = failure
                return

    def _keep(self, artifact: Artifact) -> None:
        if isinstance(artifact, Checkpoint):
            self._keep_checkpoint(artifact)
            return
        # The step is part of the key because the trainer writes the same names at every evaluation.
        name = Path(artifact.file.path).name
        key = f"{self._prefix}/samples/step-{artifact.step:06d}/{name}"
        self._send(key, artifact.file)
        add = artifacts.add_sample if isinstance(artifact, Sample) else artifacts.add_sheet
        self._lease.write(add, line=artifact, key=key)

    def _keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        for file in sorted(checkpoint.files, key=_is_manifest):
            self._send(f"{self._prefix}/{file.path}", file)
        # Whoever goes on from here never tells again of the steps before it: they must be written.
        self._forwarder.wait_until_written()
        prefix = f"{self._prefix}/{checkpoint.path}"
        self._lease.write(artifacts.add_checkpoint, line=checkpoint, prefix=prefix)
        self._delete_old_checkpoints()

    def _delete_old_checkpoints(self) -> None:
        given_up = self._lease.write(
            artifacts.prune_checkpoints,
            keep_last=self._checkpoints.keep_last,
            keep_best=self._checkpoints.keep_best_by is not None,
        )
        for old in given_up:
            try:
                for key in list(self._store.list(f"{old.prefix}/")):
                    if old.kept is None or not key.startswith(f"{old.kept}/"):
                        self._store.delete(key)
            except Unavailable as away:
                log.warning("%s: %s is left in the store: %s", self._lease.name, old.prefix, away)

    def _send(self, key: str, file: File) -> None:
        path = transfer.inside(self._run, file.path)
        self._patiently(partial(transfer.send, self._store, key, path, file))

    def _patiently(self, action: Callable[[], None]) -> None:
        transfer.while_away(action, give_up=self._is_enough)

    def _is_enough(self) -> bool:
        """Whether a store that is away is no longer waited for."""
        now = time.monotonic()
        if self._lease.cancel is not None:
            self._give_up_at = min(self._give_up_at, now + self._cancel_grace_s)
        return self._lease.lost or now > self._give_up_at


def _below(folder: str, file: File) -> File:
    """`file` with its path relative to `folder` instead of to the run folder."""
    return file.model_copy(update={"path": file.path.removeprefix(f"{folder}/")})


def _name(artifact: Artifact) -> str:
    """What a later artifact of the same name makes good for: any checkpoint for any earlier one."""
    return artifact.type if isinstance(artifact, Checkpoint) else artifact.file.path


def _is_manifest(file: File) -> bool:
    return Path(file.path).name == MANIFEST
