"""weights.lock.json: which commits the fetched weights are, and what their files were. Free of torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import RootModel, ValidationError

from vader_core.catalogue import Weights
from vader_core.errors import WeightsUnreadable
from vader_core.files import write_whole
from vader_core.strict import Strict

LOCK_FILE = "weights.lock.json"


class LockedFile(Strict):
    """One file as it was fetched."""

    sha256: str
    size: int


class Locked(Strict):
    """One folder of the weights folder: a hub repository at one commit."""

    repo: str
    commit: str
    files: dict[str, LockedFile]


class _Lock(RootModel[dict[str, Locked]]):
    """All of them, by the names of their folders."""


def locked(folder: Path) -> Locked | None:
    """What the lock beside `folder` says of it; None where it says nothing. Raises `WeightsUnreadable`."""
    return _read(folder.parent).get(folder.name)


def lock(folder: Path, entry: Locked) -> None:
    """Writes `entry` for `folder` into the lock beside it. Raises `WeightsUnreadable`."""
    entries = {**_read(folder.parent), folder.name: entry}
    text = _Lock(dict(sorted(entries.items()))).model_dump_json(indent=2)
    write_whole(folder.parent / LOCK_FILE, f"{text}\n".encode())


def commit_of(weights: Weights, folder: Path | None) -> str:
    """Which weights these are, as clients and adapters are told.

    The commit that was fetched; without a record of that, what the catalogue pins, marked
    "unverified": the folder may hold anything.
    """
    if weights.repo is None or folder is None:
        return weights.pinned_as
    entry = locked(folder)
    if entry is not None:
        return entry.commit
    return f"{weights.pinned_as} (unverified)" if folder.is_dir() else weights.pinned_as


def check(folder: Path, weights: Weights | None) -> None:
    """Raises `WeightsUnreadable` where `folder` is not what was fetched, or not the catalogue's commit.

    Sizes are compared, not contents: hashing tens of gigabytes would delay every job. Folders that
    were not fetched are not checked.
    """
    if weights is None or weights.repo is None or weights.converter is not None:
        return
    entry = locked(folder)
    if entry is None:
        return
    if weights.revision not in {None, entry.commit}:
        raise WeightsUnreadable(
            f"{folder} is commit {entry.commit} of {entry.repo}; the catalogue pins "
            f"{weights.revision}.",
            hint=f"Fetch it again with --revision {weights.revision}.",
        )
    for name, file in entry.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != file.size:
            found = "is missing" if size is None else f"has {size} bytes, not {file.size}"
            raise WeightsUnreadable(
                f"{path} {found}.", hint="Remove the folder and fetch the weights again."
            )


def _read(weights_dir: Path) -> dict[str, Locked]:
    path = weights_dir / LOCK_FILE
    if not path.is_file():
        return {}
    try:
        return _Lock.model_validate_json(path.read_bytes()).root
    except ValidationError as error:
        raise WeightsUnreadable(
            f"{path} is malformed: {error.error_count()} faults, the first at "
            f"{'/'.join(str(part) for part in error.errors()[0]['loc'])}.",
            hint="Restore the file, or remove it and fetch the weights again.",
        ) from error
