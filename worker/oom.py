"""How often the kernel has killed processes for want of memory, to tell that from any other SIGKILL."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_SYSTEM = Path("/proc/vmstat")


def kills() -> int | None:
    """So far: in this process's memory cgroup and on the whole machine; None where nobody counts."""
    counts = [count for file in _counting() if (count := _count(file)) is not None]
    return sum(counts) if counts else None


def _counting() -> list[Path]:
    try:
        own = _OWN_CGROUP.read_text(encoding="utf-8").strip().rpartition("::")[2].lstrip("/")
    except OSError:
        own = ""
    return [_CGROUPS / own / "memory.events", _SYSTEM]


def _count(file: Path) -> int | None:
    """The number behind the word oom_kill."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = dict(line.split(maxsplit=1) for line in lines if " " in line).get("oom_kill")
    return None if found is None else int(found)
