"""The full-size benchmark on the tiny models, which go the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import full_size


def test_the_small_form_times_every_stage_beside_the_estimate(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert full_size.main(["--small", "--steps", "1", "--write", str(page)]) == 0
    text = page.read_text()
    for stage in full_size.STAGES:
        assert text.count(f"| {stage} |") == len(full_size.SMALL)
    if not torch.cuda.is_available():
        # Nothing is said of a memory that was not measured.
        assert text.count("not measured") == len(full_size.STAGES) * len(full_size.SMALL)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_full_sizes_are_refused_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert full_size.main([]) == full_size.NO_DEVICE
    assert "CUDA" in capsys.readouterr().err
