from __future__ import annotations

from pathlib import Path

import pytest

from vader_core import lines
from vader_core.ceilings import utc_now
from vader_core.lines import EvaluationDone, parse
from vader_core.output import Output


def evaluation(step: int) -> EvaluationDone:
    return EvaluationDone(
        at=utc_now(),
        step=step,
        kind="base",
        pairs=1,
        heldout_reward=0.1,
        baseline_heldout_reward=0.1,
        difference=None,
        per_reward={},
        guards=[],
        verdict=None,
        evaluation_queries=1,
        seconds=0.5,
    )


def test_every_line_goes_out_and_figures_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output(tmp_path / "metrics.jsonl")
    sent = [lines.Phase(at=utc_now(), step=0, phase="training"), evaluation(3)]
    for line in sent:
        output.emit(line)
    assert [parse(text) for text in capsys.readouterr().out.splitlines()] == sent
    assert output.metric_lines() == [sent[1]]
    assert output.last_step == 3


def test_figures_go_back_to_a_checkpoint(tmp_path: Path) -> None:
    output = Output(tmp_path / "metrics.jsonl")
    assert output.metrics_so_far() == b""
    output.emit(evaluation(1))
    then = output.metrics_so_far()
    output.emit(evaluation(2))
    output.go_back_to(then)
    assert [line.step for line in output.metric_lines()] == [1]
