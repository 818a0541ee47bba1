from __future__ import annotations

from pathlib import Path

import pytest

from worker import oom


def counting(folder: Path, monkeypatch: pytest.MonkeyPatch, events: str | None, stat: str) -> None:
    (folder / "own.slice").mkdir(exist_ok=True)
    if events is not None:
        (folder / "own.slice/memory.events").write_text(events)
    (folder / "vmstat").write_text(stat)
    (folder / "cgroup").write_text("0::/own.slice\n")
    monkeypatch.setattr(oom, "_CGROUPS", folder)
    monkeypatch.setattr(oom, "_OWN_CGROUP", folder / "cgroup")
    monkeypatch.setattr(oom, "_SYSTEM", folder / "vmstat")


def test_kills_of_the_cgroup_and_of_the_machine_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = "low 0\noom 4\noom_kill 2\noom_group_kill 0\n"
    counting(tmp_path, monkeypatch, events, "nr_free_pages 7\noom_kill 1\n")
    assert oom.kills() == 3


def test_where_nobody_counts_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(tmp_path, monkeypatch, None, "nr_free_pages 7\n")
    assert oom.kills() is None
