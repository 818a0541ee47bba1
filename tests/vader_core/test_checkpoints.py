from __future__ import annotations

import json
from pathlib import Path

import pytest

from vader_core import checkpoints

WEIGHTS = b"w" * 1000


def fill(folder: Path) -> None:
    (folder / "adapter").mkdir()
    (folder / "adapter/weights").write_bytes(WEIGHTS)
    (folder / "state.json").write_text("{}")


@pytest.fixture
def warnings() -> list[tuple[str, str]]:
    return []


def newest(root: Path, warnings: list[tuple[str, str]]) -> str | None:
    found = checkpoints.newest_whole(root, warn=lambda *warning: warnings.append(warning))
    return found.name if found else None


def write(root: Path, *steps: int, keep_last: int = 3) -> None:
    for step in steps:
        checkpoints.write(root, step=step, fill=fill, keep_last=keep_last)


def test_a_checkpoint_is_found_with_everything_in_it(
    tmp_path: Path, warnings: list[tuple[str, str]]
) -> None:
    write(tmp_path, 10)
    assert newest(tmp_path, warnings) == "step-000010"
    assert (tmp_path / "step-000010/adapter/weights").read_bytes() == WEIGHTS
    manifest = json.loads((tmp_path / "step-000010/manifest.json").read_text())
    assert [file["path"] for file in manifest["files"]] == ["adapter/weights", "state.json"]
    assert warnings == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    write(tmp_path, 2, 4, 6, 8, 1_000_000, keep_last=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000008", "step-1000000"]


def test_the_best_of_those_that_are_there_is_kept_too(tmp_path: Path) -> None:
    write(tmp_path, 2, 4, 6)
    checkpoints.write(tmp_path, step=8, fill=fill, keep_last=1, best=[3, 4, 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000004", "step-000008"]


@pytest.mark.parametrize(
    "damage", ["changed", "shortened", "removed", "no manifest", "bad manifest"]
)
def test_a_broken_checkpoint_is_put_aside_with_a_warning(
    tmp_path: Path, warnings: list[tuple[str, str]], damage: str
) -> None:
    write(tmp_path, 10, 20)
    file, manifest = (
        tmp_path / "step-000020/adapter/weights",
        tmp_path / "step-000020/manifest.json",
    )
    if damage == "changed":
        file.write_bytes(b"v" * 1000)
    elif damage == "shortened":
        file.write_bytes(b"w" * 999)
    elif damage == "removed":
        file.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:40])
    assert newest(tmp_path, warnings) == "step-000010"
    assert [code for code, _ in warnings] == ["checkpoint_corrupt"]
    assert "step-000020" in warnings[0][1]
    # Pruning must not keep the broken one in place of a whole one.
    write(tmp_path, 15, keep_last=1)
    assert newest(tmp_path, warnings) == "step-000015"


def test_leftovers_of_a_killed_writer_are_neither_used_nor_kept(
    tmp_path: Path, warnings: list[tuple[str, str]]
) -> None:
    write(tmp_path, 10)
    (tmp_path / "step-000010").rename(tmp_path / "tmp-step-000010")
    assert newest(tmp_path, warnings) is None
    assert list(tmp_path.iterdir()) == []


def test_writing_a_step_again_replaces_it(tmp_path: Path, warnings: list[tuple[str, str]]) -> None:
    write(tmp_path, 10)
    checkpoints.write(
        tmp_path,
        step=10,
        fill=lambda folder: (folder / "state.json").write_bytes(b"new") and None,
        keep_last=3,
    )
    assert newest(tmp_path, warnings) == "step-000010"
    assert (tmp_path / "step-000010/state.json").read_bytes() == b"new"
    assert not (tmp_path / "step-000010/adapter").exists()
