from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.stand_in_gpu import path_with_gpu
from worker import hardware


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Nothing is known of this machine's GPUs yet, nor later of those of the test."""
    hardware.gpus.cache_clear()
    yield
    hardware.gpus.cache_clear()


def test_the_drivers_rows_become_names_with_memory() -> None:
    listing = "NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n"
    assert hardware.parse_gpus(listing) == ["NVIDIA H100 80GB HBM3 (80 GiB)"] * 2


def test_a_driver_without_gpus_gives_none() -> None:
    assert hardware.parse_gpus("\n") == []


def test_this_machine_has_a_description() -> None:
    assert "GiB" in hardware.describe()


def test_a_driver_that_does_not_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_anew: None
) -> None:
    monkeypatch.setenv("PATH", path_with_gpu(tmp_path, "NVIDIA L4", gib=24))
    command = tmp_path / "nvidia-smi"
    answer = command.read_text()
    command.write_text("#!/bin/sh\nexit 9\n")
    assert hardware.describe().startswith("CPU, ")
    command.write_text(answer)
    assert hardware.describe() == "1 x NVIDIA L4 (24 GiB)"
    command.write_text("#!/bin/sh\nexit 9\n")
    assert hardware.describe() == "1 x NVIDIA L4 (24 GiB)"
