"""Checkpoint folders that are whole or do not exist. Free of torch.

A checkpoint is staged in `tmp-*`, its files are fsynced, `manifest.json` with every size and sha256 comes
last, and the folder gets its name `step-000010` by rename. A reader trusts a folder only when all of its
files match the manifest.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from vader_core.files import described, described_tree, replace_folder, write_synced
from vader_core.lines import File
from vader_core.strict import Strict

_NAME = re.compile(r"step-(\d{6,})")
_MANIFEST = "manifest.json"

Warn = Callable[[str, str], None]


class Manifest(Strict):
    """All files of a checkpoint but itself; paths are relative to the checkpoint's folder."""

    files: list[File]


def write(
    root: Path,
    *,
    step: int,
    fill: Callable[[Path], None],
    keep_last: int,
    best: Sequence[int] = (),
) -> Path:
    """Writes the checkpoint of `step` under `root` and removes all but the newest `keep_last`.

    The first of the steps `best` of which there is a checkpoint is kept too. `fill` puts the checkpoint's files into the folder that it is given. A checkpoint of the same step
    is replaced.
    """
    final = root / f"step-{step:06d}"
    staged = root / f"tmp-{final.name}"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    fill(staged)
    files = described_tree(staged, run_folder=staged)
    write_synced(staged / _MANIFEST, Manifest(files=files).model_dump_json(indent=2).encode())
    replace_folder(staged, final)
    there = dict(_by_step(root))
    spared = next((best_step for best_step in best if best_step in there), None)
    for old_step in [*there][:-keep_last]:
        if old_step != spared:
            shutil.rmtree(there[old_step])
    return final


def newest_whole(root: Path, *, warn: Warn) -> Path | None:
    """The newest checkpoint whose files all match its manifest, None when there is none.

    A broken one is put aside under the name `corrupt-*`, after `warn(code, message)` was told why, so
    that it is neither tried nor kept in place of a whole one. Leftovers of staging are removed.
    """
    for leftover in root.glob("tmp-*"):
        shutil.rmtree(leftover)
    for _, folder in reversed(_by_step(root)):
        found = damage(folder)
        if found is None:
            return folder
        aside = folder.with_name(f"corrupt-{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        warn("checkpoint_corrupt", f"Checkpoint {folder.name} is not used: {found}")
    return None


def newest(root: Path) -> Path | None:
    """The newest checkpoint by name, unread."""
    found = _by_step(root)
    return found[-1][1] if found else None


def _by_step(root: Path) -> list[tuple[int, Path]]:
    matches = [(_NAME.fullmatch(path.name), path) for path in root.glob("step-*")]
    return sorted((int(match[1]), path) for match, path in matches if match)


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, None when it is whole."""
    try:
        manifest = Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except FileNotFoundError:
        return f"{_MANIFEST} is missing."
    except ValidationError:
        return f"{_MANIFEST} is not readable."
    for wanted in manifest.files:
        path = folder / wanted.path
        if not path.is_file():
            return f"{wanted.path} is missing."
        if described(path, run_folder=folder) != wanted:
            return f"{wanted.path} differs from what was written."
    return None
