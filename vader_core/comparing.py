"""The evaluations of a run: base at the start, adapter every n steps and at the end."""

from __future__ import annotations

import time
from typing import Literal

import torch

from vader_core import lines
from vader_core.ceilings import utc_now
from vader_core.evaluation import Comparison, Pair, mean
from vader_core.run import Run
from vader_core.state import Evaluated, PairScores
from vader_core.statistics import verdict


def evaluate_base(run: Run) -> PairScores:
    """Scores the base model's videos, once in a job's life, and keeps some. May raise `Stopped`."""
    run.enter("evaluating_base")
    began = time.monotonic()
    kept = set(_kept(run))

    # A total that is scaled by the spread of all videos is known once all are scored.
    is_late = bool(run.bench.objective.unscaled)

    def keep(pair: Pair, frames_FCHW: torch.Tensor, score: float) -> None:
        if pair in kept:
            run.samples.write(pair, frames_FCHW, role="base")
            if not is_late:
                run.samples.announce(pair, score, role="base", step=0)

    with run.bench.adapter.disabled():
        scores = run.evaluator.score(keep=keep, between_batches=run.stop.raise_if_asked)
    if is_late:
        scores = _calibrate(run, scores)
        for pair, score in zip(run.evaluator.pairs, scores.total, strict=True):
            if pair in kept:
                run.samples.announce(pair, score, role="base", step=0)
    run.progress.base_scores = scores
    run.progress.base_evaluation_s = time.monotonic() - began
    _record(run, scores, guards_held=True)
    run.output.emit(
        lines.EvaluationDone(
            at=utc_now(),
            step=0,
            kind="base",
            pairs=len(run.evaluator.pairs),
            heldout_reward=mean(scores),
            baseline_heldout_reward=mean(scores),
            difference=None,
            per_reward={},
            guards=[],
            verdict=None,
            evaluation_queries=run.progress.evaluation_queries,
            repeated=run.repeated,
            seconds=run.progress.base_evaluation_s,
            scores=run.evaluator.by_pair(scores),
        )
    )
    return scores


def _calibrate(run: Run, scores: PairScores) -> PairScores:
    """Scales the rewards that are scaled by the base model's spread; the scores with their new totals."""
    objective = run.bench.objective
    run.progress.scales = objective.measure_scales(scores.rewards)
    objective.calibrate(run.progress.scales)
    by_reward = {name: torch.tensor(values) for name, values in scores.rewards.items()}
    return scores.model_copy(update={"total": objective.reward.total(by_reward).tolist()})


def evaluate_periodically(run: Run, base_scores: PairScores) -> None:
    """Scores the adapter's videos and keeps none. May raise `Stopped`."""
    run.enter("evaluating")
    began = time.monotonic()
    scores = run.evaluator.score(
        keep=lambda _pair, _frames, _score: None,
        between_batches=run.stop.raise_if_asked,
        as_base=run.bench.adapter.disabled,
    )
    found = run.evaluator.compare(base_scores, scores)
    _record(run, scores, guards_held=all(guard.ok for guard in found.guards))
    _report(run, found, scores, kind="periodic", seconds=time.monotonic() - began)
    run.enter("training")


def evaluate_finally(run: Run, base_scores: PairScores) -> lines.EvaluationDone:
    """Scores the adapter's videos, keeps the same pairs as before, draws the sheet.

    Raises `Stopped` for an interruption or a cancellation.
    """
    run.enter("evaluating")
    began = time.monotonic()
    kept = _kept(run)
    _restore_base_videos(run, kept)
    after: dict[Pair, float] = {}

    def keep(pair: Pair, frames_FCHW: torch.Tensor, score: float) -> None:
        if pair in kept:
            after[pair] = score
            run.samples.publish(pair, frames_FCHW, score, role="adapter", step=run.progress.step)

    scores = run.evaluator.score(
        keep=keep, between_batches=lambda: _look(run), as_base=run.bench.adapter.disabled
    )
    run.progress.evaluation_queries += scores.queries
    found = run.evaluator.compare(base_scores, scores, looks=run.progress.chosen_among)
    line = _report(run, found, scores, kind="final", seconds=time.monotonic() - began)
    if kept:
        before = dict(zip(run.evaluator.pairs, base_scores.total, strict=True))
        run.samples.publish_sheet(
            kept,
            [(before[pair], after[pair]) for pair in kept],
            title=_title(run, line),
            step=run.progress.step,
        )
    return line


def _kept(run: Run) -> list[Pair]:
    """The pairs whose videos are kept: one of every prompt before a second of any."""
    seeds = run.spec.evaluation.seeds
    by_seed = sorted(run.evaluator.pairs, key=lambda pair: seeds.index(pair.seed))
    return by_seed[: run.spec.evaluation.samples_to_keep]


def _look(run: Run) -> None:
    run.stop.raise_if_asked(while_finishing=True)


def _restore_base_videos(run: Run, kept: list[Pair]) -> None:
    """Makes the base videos again that are not in this folder: the run began on another machine."""
    missing = [pair for pair in kept if not run.samples.strip(pair, role="base").exists()]
    with run.bench.adapter.disabled():
        for batch, frames_BFCHW in run.evaluator.videos(
            missing, between_batches=lambda: _look(run)
        ):
            for pair, frames_FCHW in zip(batch, frames_BFCHW, strict=True):
                run.samples.write(pair, frames_FCHW, role="base")


def _record(run: Run, scores: PairScores, *, guards_held: bool) -> None:
    """Counts an evaluation among those that early stops go by."""
    run.progress.evaluation_queries += scores.queries
    run.progress.evaluations.append(
        Evaluated(
            step=run.progress.step,
            heldout_reward=mean(scores),
            guards=scores.guards,
            guards_held=guards_held,
        )
    )
    run.keep_good_adapter()


def _report(
    run: Run,
    found: Comparison,
    scores: PairScores,
    *,
    kind: Literal["periodic", "final"],
    seconds: float,
) -> lines.EvaluationDone:
    line = lines.EvaluationDone(
        at=utc_now(),
        step=run.progress.step,
        kind=kind,
        pairs=len(run.evaluator.pairs),
        heldout_reward=found.difference.adapter,
        baseline_heldout_reward=found.difference.base,
        difference=found.difference,
        per_reward=found.per_reward,
        guards=found.guards,
        verdict=verdict(found.difference),
        pairs_needed=found.pairs_needed,
        adapter_step=run.progress.restored_step,
        reward_queries=run.progress.reward_queries,
        evaluation_queries=run.progress.evaluation_queries,
        repeated=run.repeated,
        seconds=seconds,
        scores=run.evaluator.by_pair(scores),
    )
    run.output.emit(line)
    return line


def _title(run: Run, line: lines.EvaluationDone) -> str:
    rewards = " + ".join(term.reward for term in run.spec.rewards)
    change = f"{line.baseline_heldout_reward:.3f} before, {line.heldout_reward:.3f} after"
    return f"{rewards} on {run.spec.base_model}: {change} ({str(line.verdict).replace('_', ' ')})"
