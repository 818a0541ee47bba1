"""The page, its plots and its CSV files, from made-up trainings."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks.evidence import plots, report
from benchmarks.evidence.cosines import Cosine, Cosines, compare
from benchmarks.evidence.elsewhere_tables import SETS
from benchmarks.evidence.markdown import figure, spread
from benchmarks.evidence.method_tables import headline_table
from benchmarks.evidence.reaching import Band
from benchmarks.evidence.results import best_within_guards, first_break, groups
from benchmarks.evidence.running import Runs
from benchmarks.evidence.sites import SITES
from tests.benchmarks.evidence_material import (
    TUNING,
    cell,
    point,
    put,
    put_generalisation,
    record,
)

SITE = {
    "last 1": cell("last 1", study="sites", queries=56),
    "last 4": cell("last 4", study="sites", queries=48),
}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Reward gradients twice as fast as DDPO on two seeds; DPO that never rises; a failed NFT."""
    made = Runs(tmp_path / "runs")
    for seed in (1, 2):
        fast = cell(seed=seed)
        run = put(
            made, fast, record(point(0, 1.0), point(48, 3.0), point(96, 4.0, broken=["motion"]))
        )
        put_generalisation(run, SETS)
        put(made, cell("ddpo", seed=seed), record(point(0, 1.0), point(48, 1.5), point(96, 2.0)))
    put(made, cell("dpo"), record(point(0, 1.0), point(96, 0.9)))
    put(made, cell("nft"), record(point(0, 1.0), error="diverged: It fell."))
    for number, site in enumerate(SITE.values()):
        put(made, site, record(point(0, 1.0), point(48, 2.0 + number)))
    return made


CELLS = [
    *(cell(seed=seed) for seed in (1, 2, 3)),
    *(cell("ddpo", seed=seed) for seed in (1, 2)),
    cell("dpo"),
    cell("nft"),
    *SITE.values(),
]


def rows_of(text: str) -> list[list[str]]:
    return [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def test_the_headline_has_the_ratio_of_what_was_needed(runs: Runs) -> None:
    rows = rows_of(headline_table(groups(CELLS, runs), "ddpo"))
    mine = next(row for row in rows if row[1] == "reward_gradient")
    # DDPO ends at 2.0 after 96 queries; the straight line from 1.0 to 3.0 is there after 24.
    assert mine[2:6] == ["2", "24, seen at 48", "2 of 2, after 24 to 24", "4.0 x"]
    never = next(row for row in rows if row[1] == "dpo")
    assert never[3:6] == ["never", "0 of 1", "-"]


def test_a_baseline_that_fell_gives_no_ratio(runs: Runs) -> None:
    rows = rows_of(headline_table(groups(CELLS, runs), "dpo"))
    assert all(row[2] == "no gain to reach" for row in rows)


def test_groups_tell_ended_failed_and_missing_seeds_apart(runs: Runs) -> None:
    found = {group.label: group for group in groups(CELLS, runs) if group.study == "methods"}
    mine = found["reward_gradient"]
    assert (len(mine.ended), len(mine.failed), [one.seed for one in mine.missing]) == (2, 0, [3])
    assert len(found["nft"].failed) == 1


def test_the_first_broken_guard_and_the_best_reward_before_it(runs: Runs) -> None:
    (outcome, _) = groups(CELLS, runs)[0].ended
    found = first_break(outcome)
    assert found is not None
    assert (found.reward_queries, found.guards) == (96, ("motion",))
    assert best_within_guards(outcome) == 3.0


def test_the_page_has_every_section_plot_and_csv(runs: Runs, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "limits.md").write_text("A toy world is a toy world.")
    cosine = Cosine(of_batches=(0.5, 0.4, 0.6), of_sum=0.55, norm_ratio=0.9)
    found = Cosines(
        base_model="tiny-wan",
        task="preference",
        trained_queries=0,
        batches=3,
        videos=8,
        sites={label: cosine for label in SITES if label != "all 10"},
    )
    page = tmp_path / "evidence.md"
    material = report.Material(
        TUNING, groups(CELLS, runs), [found], page.with_suffix(""), notes=notes
    )
    report.write(page, material)
    text = page.read_text()
    assert "A toy world is a toy world." in text.partition("## What this does not show")[2]
    assert "| methods | preference | tiny-wan | 3 | reward_gradient |" in text
    for axis in ("reward-queries", "denoiser-forwards", "seconds"):
        ElementTree.fromstring((tmp_path / f"evidence/preference-{axis}.svg").read_text())
        assert f"(evidence/preference-{axis}.svg)" in text
    with (tmp_path / "evidence" / "points.csv").open() as file:
        points = list(csv.DictReader(file))
    assert len(points) == 2 * 3 + 2 * 3 + 2 + 1 + 2 * 2
    assert points[2]["motion_ok"] == "False"
    with (tmp_path / "evidence" / "elsewhere.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * len(SETS)
    with (tmp_path / "evidence" / "cosines.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} == set(found.sites)


def test_a_plot_draws_mean_and_range_of_every_line() -> None:
    flat = [Band(0, 1.0, 1.0, 1.0), Band(100, 2.0, 1.5, 2.5)]
    picture = ElementTree.fromstring(
        plots.svg("a < b", "queries", [plots.Line("one", 0, flat), plots.Line("none", 1, [])])
    )
    names = [part.tag.split("}")[1] for part in picture]
    assert (names.count("polygon"), names.count("polyline")) == (1, 1)
    texts = [part.text for part in picture if part.text]
    assert "one" in texts
    assert "none" not in texts
    assert "100" in texts


def test_cosines_of_equal_opposite_and_orthogonal_gradients() -> None:
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    same = compare([right, up], [2 * right, 2 * up])
    assert same.of_batches == (1.0, 1.0, 1.0)
    assert same.of_sum == pytest.approx(1.0)
    assert same.norm_ratio == pytest.approx(2.0)
    other = compare([right, right], [up, -right])
    assert other.of_batches == (-0.5, -1.0, 0.0)
    assert other.of_sum == pytest.approx(-1 / math.sqrt(5))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.12345, "0.123"), (46.83, "46.8"), (12345.6, "12,346")]
)
def test_figures_have_three_digits_that_count(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_one_value_has_no_spread() -> None:
    assert spread([0.5]) == "0.5"
    assert spread([0.5, 0.5]) == "0.5"
    assert spread([0.25, 0.75]) == "0.5 (0.25 to 0.75)"
