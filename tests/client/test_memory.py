from __future__ import annotations

import subprocess
import sys

from client.memory import PeakMemory

HOLD = "held = b'x' * 200_000_000; print(len(held), flush=True); input()"


def test_memory_of_child_processes_counts() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    with PeakMemory() as memory:
        while memory.bytes == 0:
            pass
    child.communicate("\n")
    assert memory.bytes > 200_000_000
