from __future__ import annotations

from worker import hardware


def test_the_drivers_rows_become_names_with_memory() -> None:
    listing = "NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n"
    assert hardware.parse_gpus(listing) == ["NVIDIA H100 80GB HBM3 (80 GiB)"] * 2


def test_a_driver_without_gpus_gives_none() -> None:
    assert hardware.parse_gpus("\n") == []


def test_this_machine_has_a_description() -> None:
    assert "GiB" in hardware.describe()
