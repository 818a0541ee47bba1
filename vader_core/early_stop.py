"""When a run's evaluations end it early, and to which of them it goes back.

An evaluation is good by the rule of `EarlyStop.metric`; the run ends once `patience_evals` in a row were
not. The base model's evaluation comes first and is good. An earlier adapter is never chosen by the
held-out reward itself: the best of several by their scores of the very pairs that give the verdict
would look better than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vader_core.lines import EarlyEnd
from vader_core.spec import EarlyStop, Guard, JobSpec
from vader_core.state import Evaluated, TrainState


@dataclass(frozen=True)
class Standing:
    """The step of the last good evaluation, and how many came after it."""

    good_step: int
    evaluations_since: int


def standing(
    evaluations: Sequence[Evaluated], rule: EarlyStop, guards: Sequence[Guard]
) -> Standing:
    """How a run stands after `evaluations`, the base model's first. `guards` are the resolved spec's."""
    good, best = 0, float("-inf")
    for number, evaluation in enumerate(evaluations):
        if rule.metric == "guards":
            good = number if evaluation.guards_held else good
        elif (mean := _watched(evaluation, rule, guards)) > best + rule.min_delta:
            good, best = number, mean
    return Standing(evaluations[good].step, len(evaluations) - 1 - good)


def _watched(evaluation: Evaluated, rule: EarlyStop, guards: Sequence[Guard]) -> float:
    if rule.metric == "heldout_reward":
        return evaluation.heldout_reward
    return evaluation.guards[[guard.reward for guard in guards].index(rule.reward or "")]


def reached(progress: TrainState, spec: JobSpec) -> EarlyEnd | None:
    """Why the run ends early: broken guards, or a score that no longer rises; None: it goes on."""
    rule = spec.early_stop
    if rule is None or not progress.evaluations:
        return None
    found = standing(progress.evaluations, rule, spec.guards or [])
    if found.evaluations_since < rule.patience_evals:
        return None
    return "guard_violated" if rule.metric == "guards" else "early_stop"


def is_worth_keeping(progress: TrainState, spec: JobSpec) -> bool:
    """Whether an early stop to come would go back to the adapter that was evaluated last."""
    rule = spec.early_stop
    if rule is None or not rule.goes_back:
        return False
    return standing(progress.evaluations, rule, spec.guards or []).evaluations_since == 0


def chosen_among(progress: TrainState, rule: EarlyStop) -> int:
    """Among how many adapters the kept one was chosen by its scores of the held-out pairs.

    The best by an unseen reward is the best of all that were evaluated, and as rewards agree with each
    other it would seem better by the trained one, too. Guards choose the last adapter that passes, a
    test that nearly every adapter of no effect passes: no choice by scores.
    """
    return len(progress.evaluations) - 1 if rule.metric == "unseen_reward" else 1
