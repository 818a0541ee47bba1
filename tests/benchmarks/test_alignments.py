"""The jobs behind docs/results.md and the page that is made of them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks import alignments
from client.job_file import read_job
from tests import trainer_lines
from vader_core.catalogue import Catalogue
from vader_core.lines import GuardResult, Line
from vader_core.prompts import split
from vader_core.resolve import check
from vader_core.spec import JobSpec


@pytest.mark.parametrize("path", alignments.jobs([]), ids=lambda path: path.stem)
def test_every_job_is_one_that_the_trainer_takes_and_has_guards(path: Path) -> None:
    spec = check(read_job(path), Catalogue.load(), lambda _: None)
    _, heldout = split(spec.prompts.inline or [], spec.prompts.heldout_fraction)
    assert len(heldout) >= spec.evaluation.num_prompts
    assert spec.guards


def test_every_tiny_reward_has_a_job() -> None:
    trained = {
        term.reward
        for path in alignments.jobs([])
        for term in JobSpec.model_validate(read_job(path)).rewards
    }
    assert {name for name in Catalogue.load().rewards if name.startswith("tiny-")} <= trained


def test_a_name_that_no_job_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"nonsense.*demo"):
        alignments.jobs(["demo", "nonsense"])


def _finished(runs: Path) -> Path:
    """The run of the demo's job as it is kept in `runs`; returns the job's file."""
    (file,) = alignments.jobs(["demo"])
    guard = GuardResult(
        reward="motion@1",
        base=0.1,
        adapter=0.05,
        ratio_to_base=0.5,
        min_ratio_to_base=0.7,
        ok=False,
    )
    evaluation = trainer_lines.evaluation().model_copy(update={"guards": [guard]})
    done = trainer_lines.done()
    done = done.model_copy(update={"at": trainer_lines.BEGAN + timedelta(seconds=75)})
    lines: list[Line] = [trainer_lines.started(), trainer_lines.step(20), evaluation, done]
    text = "\n".join(line.model_dump_json() for line in lines)
    (runs / "demo.jsonl").write_text(text)
    (runs / "demo.json").write_text(json.dumps(read_job(file), indent=2, default=str))
    return file


def test_a_run_that_is_kept_is_not_repeated_and_its_figures_are_the_trainers(
    tmp_path: Path,
) -> None:
    result = alignments.run(_finished(tmp_path), tmp_path, threads=1)
    cells = [cell.strip() for cell in alignments.row(result).split("|")[1:-1]]
    assert cells[1:7] == [
        "tiny-action",
        "tiny-wan",
        "0.500",
        "0.600",
        "+0.100 [+0.050, +0.150]",
        "improved",
    ]
    assert cells[7] == "motion 0.500 (0.7) **broken**"
    assert cells[8] == str(result.done.step)
    assert cells[10] == "75"


def test_the_page_has_a_row_for_every_job(tmp_path: Path) -> None:
    result = alignments.run(_finished(tmp_path), tmp_path, threads=1)
    page = alignments.page([result, result], threads=1)
    assert page.count("examples/demo.yaml") == 2
    assert page.startswith("# ")
