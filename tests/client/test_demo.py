"""The demo as a user runs it, with a job that trains in seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client.demo import EXIT_INTERRUPTED, EXIT_NOT_IMPROVED
from tests.client import small_job
from tests.client.stacks import running_on, soon


def _demo(job_file: Path, output: Path) -> subprocess.Popen[str]:
    words = ["--job", str(job_file), "--output", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "client.demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(600)
def test_the_demo_brings_adapter_videos_and_sheet_and_stops_everything(
    data_dir: Path, tmp_path: Path
) -> None:
    demo = _demo(small_job.written(tmp_path), data_dir)
    out, err = demo.communicate(timeout=500)
    # Two steps teach nothing, so the verdict is no improvement.
    assert demo.returncode == EXIT_NOT_IMPROVED, out + err
    assert "verdict     no clear difference" in out
    assert "difference  " in out
    assert "peak memory" in out
    assert (data_dir / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    videos = [path.read_bytes()[4:8] for path in (data_dir / "samples").glob("*.mp4")]
    assert videos == [b"ftyp", b"ftyp"]
    assert (data_dir / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert running_on(data_dir) == []


def test_a_demo_that_is_interrupted_leaves_no_process(data_dir: Path, tmp_path: Path) -> None:
    demo = _demo(small_job.written(tmp_path), data_dir)
    assert soon(lambda: any("postgres" in line for line in running_on(data_dir)))
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == EXIT_INTERRUPTED
    assert "everything was stopped" in err
    assert running_on(data_dir) == []
