"""The whole comparison in small, with real trainings of two steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.evidence import cosines, sites, studies
from benchmarks.evidence.__main__ import main
from benchmarks.evidence.methods import METHODS, Tuning, read_tuning, write_tuning
from benchmarks.evidence.sites import Place
from tests.benchmarks.evidence_material import TUNING, few_prompts, small_cell


@pytest.fixture
def two_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells make the study; gradients are compared nowhere."""
    few_prompts(monkeypatch)

    def cells(_tuning: Tuning) -> list[object]:
        return [small_cell("reward_gradient"), small_cell("sft_best")]

    monkeypatch.setattr(studies, "all_cells", cells)
    monkeypatch.setattr(studies, "cosine_places", lambda _tuning: [])


@pytest.mark.usefixtures("two_methods")
def test_two_methods_are_trained_examined_and_reported_once(tmp_path: Path) -> None:
    tuning, page, runs = tmp_path / "tuning.json", tmp_path / "evidence.md", tmp_path / "runs"
    write_tuning(TUNING, tuning)
    words = ["--runs", str(runs), "--tuning", str(tuning), "--write", str(page)]
    assert main(["train", "examine", "report", *words]) == 0
    text = page.read_text()
    assert "2 trainings ended, 0 failed, 0 not run" in text
    assert text.count("| reward_gradient | unseen word | 4 |") == 1
    made = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    assert main(["train", "examine", *words]) == 0
    assert made == {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}


def test_without_a_tuning_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="tune"):
        main(["train", "--runs", str(tmp_path), "--tuning", str(tmp_path / "none.json")])


def test_a_tuning_in_no_time_chooses_nothing(tmp_path: Path) -> None:
    tuning = tmp_path / "tuning.json"
    words = ["--runs", str(tmp_path), "--tuning", str(tuning), "--minutes", "0"]
    assert main(["tune", *words]) == 0
    assert read_tuning(tuning) is None


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense", "--runs", str(tmp_path)])


def test_the_full_gradient_has_cosine_one_with_itself_and_a_shorter_one_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_prompts(monkeypatch)
    small = {**METHODS["reward_gradient"], "batch_size": 1}
    monkeypatch.setitem(METHODS, "reward_gradient", small)
    chosen = {
        "all 10": {"differentiable_steps": 10},
        "the same": {"differentiable_steps": 10},
        "last 1": {"differentiable_steps": 1},
    }
    for name in list(sites.SITES):
        monkeypatch.delitem(sites.SITES, name)
    for name, changes in chosen.items():
        monkeypatch.setitem(sites.SITES, name, changes)
    found = cosines.measure(Place("preference", "tiny-wan"), None, threads=1, batches=1)
    assert set(found.sites) == {"the same", "last 1"}
    assert found.sites["the same"].of_sum == pytest.approx(1.0, abs=1e-6)
    assert found.sites["the same"].norm_ratio == pytest.approx(1.0, abs=1e-6)
    assert -1.0 <= found.sites["last 1"].of_sum < 0.999
