"""A stand-in for nvidia-smi, by which a worker believes that it has a GPU."""

from __future__ import annotations

import os
from pathlib import Path


def path_with_gpu(folder: Path, name: str, *, gib: int) -> str:
    """A PATH on which nvidia-smi tells of one GPU."""
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho '{name}, {gib * 1024}'\n")
    command.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
