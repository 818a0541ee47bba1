"""A whole job: base evaluation, optimiser steps until something ends them, final evaluation, export."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Literal, get_args

from vader_core import adapter as adapters
from vader_core import card, curve, divergence, early_stop, lines
from vader_core.ceilings import utc_now
from vader_core.comparing import evaluate_base, evaluate_finally, evaluate_periodically
from vader_core.devices import peak_memory_bytes
from vader_core.errors import EXIT_DONE, EXIT_INTERRUPTED
from vader_core.files import described_tree, replace_folder, write_synced
from vader_core.lines import EvaluationDone, StopReason
from vader_core.loading import loading_of
from vader_core.methods.learner import StepResult
from vader_core.opening import open_run
from vader_core.order import Order
from vader_core.output import Output
from vader_core.run import Run
from vader_core.state import PairScores
from vader_core.stopping import StopFlag, Stopped

End = StopReason | Literal["interrupted"]
_EARLY = frozenset(get_args(lines.EarlyEnd))


@dataclass(frozen=True)
class _End:
    """Why a run ends, the final evaluation where there was one, and the `ceiling` that it pauses at."""

    reason: End
    final: EvaluationDone | None = None
    ceiling: StopReason | None = None


def train(order: Order, *, stop: StopFlag, output: Output) -> int:
    """Does what `order` says; the exit status. Raises `TrainerError` and what libraries raise."""
    run = open_run(order, stop=stop, output=output)
    try:
        end = _train_and_evaluate(run)
    except Exception:
        # Whatever went wrong: what was learned up to the last finished step is worth keeping.
        run.rescue()
        raise
    step = run.progress.step
    # Cancelled before the first step there is nothing to export: it learned nothing.
    if end.reason == "interrupted" or (end.reason == "cancelled" and step == 0):
        budget = None if end.ceiling is None else run.present.budget
        output.emit(lines.Interrupted(at=utc_now(), step=step, ceiling=end.ceiling, budget=budget))
        return EXIT_INTERRUPTED
    _export(run, end.reason, end.final)
    return EXIT_DONE


def _train_and_evaluate(run: Run) -> _End:
    """Steps and the final evaluation; steps again, where a ceiling was raised in the meantime."""
    while True:
        reason = _train_until_stopped(run)
        if run.progress.base_scores is not None:
            run.save()
        if reason == "interrupted":
            return _End(reason)
        if run.pauses_at(reason):
            return _End("interrupted", ceiling=reason)
        if reason == "cancelled":
            return _End(reason)
        if reason in _EARLY:
            # After the checkpoint, which holds the adapter of the last step: resumed, it comes here again.
            run.go_back()
        ended, final = _evaluate_at_the_end(run, reason)
        if ended != reason or reason in _EARLY or not _has_room_again(run):
            return _End(ended, final)


def _has_room_again(run: Run) -> bool:
    """Whether steps may follow after all: the evaluation takes long enough for somebody to raise a ceiling."""
    if run.progress.base_scores is None or run.stop.wish() is not None:
        return False
    return run.exhausted() is None


def _train_until_stopped(run: Run) -> End:
    """The base evaluation where it is missing, then steps; why they ended."""
    try:
        base_scores = run.progress.base_scores
        if base_scores is None:
            base_scores = evaluate_base(run)
        run.enter("training")
        while True:
            run.stop.raise_if_asked()
            # Before the ceilings: a run that was over when it was interrupted is over when it is resumed,
            # whatever time is left by then.
            end = early_stop.reached(run.progress, run.spec) or run.exhausted()
            if end is not None:
                return end
            if run.evaluation_due:
                evaluate_periodically(run, base_scores)
            else:
                _take_step(run, base_scores)
            run.save_if_due()
    except Stopped as asked:
        return asked.wish


def _take_step(run: Run, base_scores: PairScores) -> None:
    """One optimiser step, its line, and a look at whether the run has diverged."""
    forwards_before = run.bench.base.denoiser_forwards
    result = run.learner.step(run.progress.step)
    reward = float(result.total_B.mean())
    run.progress.count_step(
        reward=reward,
        reward_queries=result.reward_queries,
        denoiser_forwards=run.bench.base.denoiser_forwards - forwards_before,
        seconds=result.seconds,
    )
    _report_step(run, result, reward=reward)
    divergence.check(
        run.progress.recent_rewards,
        run.progress.opening_rewards,
        base_scores.total,
        step=run.progress.step,
    )


def _report_step(run: Run, result: StepResult, *, reward: float) -> None:
    run.output.emit(
        lines.Step(
            at=utc_now(),
            step=run.progress.step,
            loss=result.loss,
            reward=reward,
            reward_std=float(result.total_B.std(correction=0)),
            rewards=result.rewards,
            penalty=result.penalty,
            grad_norm=result.grad_norm,
            learning_rate=result.learning_rate,
            seconds=result.seconds,
            stage_seconds=result.stage_seconds,
            reward_queries=run.progress.reward_queries,
            evaluation_queries=run.progress.evaluation_queries,
            gpu_seconds=run.clock.gpu_seconds,
            peak_memory_bytes=peak_memory_bytes(run.bench.compute.device),
            denoiser_forwards=run.progress.denoiser_forwards,
            figures=result.figures,
            repeated=run.repeated,
        )
    )


def _evaluate_at_the_end(run: Run, end: StopReason) -> tuple[End, EvaluationDone | None]:
    """The final evaluation, and why the run ends after all: it may still be stopped here.

    A run that was ended before its base was scored has nothing to compare.
    """
    if run.progress.base_scores is None:
        return end, None
    try:
        return end, evaluate_finally(run, run.progress.base_scores)
    except Stopped as asked:
        return asked.wish, None


def _started_from(run: Run) -> card.StartedFrom | None:
    """What the run started from: as the spec names it, or by its folder's name."""
    start, named = run.order.start, run.spec.init_from
    if start is None:
        return None
    given = named and (named.adapter or named.checkpoint)
    return card.StartedFrom(given or start.folder.name, start.state)


def _export(run: Run, stop_reason: StopReason, final: EvaluationDone | None) -> None:
    """Writes the adapter in all its formats with its card, and says that the run is done."""
    run.enter("exporting")
    story = card.Story(
        spec=run.spec,
        steps_asked=run.present.budget.max_steps,
        base_model=run.bench.base.row,
        loading=loading_of(run.bench.base, run.bench.adapter, run.spec.video),
        progress=run.progress,
        metrics=run.output.metric_lines(),
        final=final,
        stop_reason=stop_reason,
        gpu_seconds=run.clock.gpu_seconds,
        started_from=_started_from(run),
    )
    staged = run.folder.adapter.with_name("tmp-adapter")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    adapters.export(
        run.bench.adapter,
        run.bench.base,
        staged,
        card=card.card(story),
        lineage=card.lineage(story),
    )
    picture = curve.svg(*card.curve_points(story.metrics))
    write_synced(staged / card.CURVE_FILE, picture.encode())
    replace_folder(staged, run.folder.adapter)
    run.output.emit(
        lines.Done(
            at=utc_now(),
            step=run.progress.step,
            stop_reason=stop_reason,
            verdict=final.verdict if final else None,
            reward_queries=run.progress.reward_queries,
            evaluation_queries=run.progress.evaluation_queries,
            repeated=run.repeated,
            gpu_seconds=run.clock.gpu_seconds,
            path=run.folder.adapter.name,
            files=described_tree(run.folder.adapter, run_folder=run.folder.root),
        )
    )
