"""What this machine has to train on, without importing torch."""

from __future__ import annotations

import logging
import shutil
import subprocess
from functools import cache

import psutil

from domain.settings import trainer_environment

_log = logging.getLogger(__name__)
_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_TIMEOUT_S = 20
_GIB = 2**30


def describe() -> str:
    """Such as "1 x NVIDIA H100 80GB HBM3 (80 GiB)" or "CPU, 2 cores, 16 GiB"."""
    try:
        found = gpus()
    except (subprocess.SubprocessError, OSError) as error:
        _log.warning("nvidia-smi does not answer: %s", error)
        found = []
    if found:
        return ", ".join(f"{found.count(gpu)} x {gpu}" for gpu in sorted(set(found)))
    memory_gib = psutil.virtual_memory().total / _GIB
    return f"CPU, {psutil.cpu_count()} cores, {memory_gib:.0f} GiB"


@cache
def gpus() -> list[str]:
    """Name and memory of each GPU that this worker may use; none where there is no driver.

    Raises `SubprocessError` or `OSError` where the driver does not answer: it is asked again the next time.
    """
    command = shutil.which("nvidia-smi")
    visible = trainer_environment().get("CUDA_VISIBLE_DEVICES")
    if command is None or visible == "":
        return []
    chosen = [] if visible is None else ["--id", visible]
    answer = subprocess.run(  # noqa: S603
        [command, *_QUERY, *chosen],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    return parse_gpus(answer.stdout)


def parse_gpus(listing: str) -> list[str]:
    """nvidia-smi's rows "name, MiB" as "name (GiB)"."""
    rows = [row.rpartition(", ") for row in listing.strip().splitlines()]
    return [f"{name} ({int(mebibytes) / 1024:.0f} GiB)" for name, _, mebibytes in rows if name]
