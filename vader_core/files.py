"""Writing files so that they appear whole or not at all, and hashing them. Free of torch."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from vader_core.lines import File


def write_whole(path: Path, data: bytes) -> None:
    """Writes beside `path`, fsyncs and renames."""
    staged = path.with_name(f"tmp-{path.name}")
    write_synced(staged, data)
    staged.replace(path)
    sync_folder(path.parent)


def publish(staged: Path, final: Path) -> None:
    """Fsyncs the finished file `staged` and renames it to `final`."""
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    staged.replace(final)
    sync_folder(final.parent)


def write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Fsyncs every file and folder under `folder`, and `folder` itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def replace_folder(staged: Path, final: Path) -> None:
    """Renames the finished folder `staged` to `final`; what was there before goes."""
    sync_tree(staged)
    if final.exists():
        retired = final.with_name(f"tmp-old-{final.name}")
        shutil.rmtree(retired, ignore_errors=True)
        final.rename(retired)
        staged.rename(final)
        shutil.rmtree(retired)
    else:
        staged.rename(final)
    sync_folder(final.parent)


def sha256(path: Path) -> str:
    """64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def described(path: Path, *, run_folder: Path) -> File:
    """`path` as the trainer's lines name it."""
    return File(
        path=path.relative_to(run_folder).as_posix(),
        size_bytes=path.stat().st_size,
        sha256=sha256(path),
    )


def described_tree(folder: Path, *, run_folder: Path) -> list[File]:
    """All files under `folder`, sorted by path."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [described(path, run_folder=run_folder) for path in found]
