"""What is wrong with a spec's early stop: what it watches, and whether it can ever fire. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

from vader_core.catalogue import Catalogue, RewardRow, find_row
from vader_core.faults import Fault, not_in_set, resting_on
from vader_core.row_faults import unknown_row
from vader_core.spec import EarlyStop, Guard, JobSpec


def stop_setting_faults(spec: JobSpec) -> list[Fault]:
    """What is wrong with `spec.early_stop` whatever the catalogue."""
    rule = spec.early_stop
    if rule is None:
        return []
    faults: list[Fault] = []
    if rule.metric == "unseen_reward" and rule.reward is None:
        detail = "metric unseen_reward watches a guard: name it here."
        faults.append(Fault(pointer="/early_stop/reward", code="missing_setting", detail=detail))
    if rule.metric != "unseen_reward" and rule.reward is not None:
        detail = f"It has no effect beside metric {rule.metric}: it goes with unseen_reward."
        faults.append(Fault(pointer="/early_stop/reward", code="setting_not_used", detail=detail))
    if rule.metric == "guards" and rule.min_delta:
        detail = "It has no effect beside metric guards: they have bounds of their own."
        faults.append(
            Fault(pointer="/early_stop/min_delta", code="setting_not_used", detail=detail)
        )
    return resting_on(faults, "/early_stop/metric") + _reach_faults(spec, rule)


def _reach_faults(spec: JobSpec, rule: EarlyStop) -> list[Fault]:
    """It needs `patience_evals` evaluations before the last step's end."""
    every, steps, patience = (
        spec.evaluation.every_steps,
        spec.budget.max_steps,
        rule.patience_evals,
    )
    if every is None:
        pointer = "/evaluation/every_steps"
        detail = "An early stop looks at evaluations during training: say how often."
        return [Fault(pointer=pointer, code="missing_setting", detail=detail)]
    if patience * every <= steps:
        return []
    detail = (
        f"The early stop can never fire: {patience} evaluations, one every {every} steps, take "
        f"{patience * every} steps, and max_steps is {steps}."
    )
    if every <= steps:
        fault = not_in_set("/early_stop/patience_evals", detail, steps // every)
    else:
        fault = not_in_set("/evaluation/every_steps", detail, max(steps // patience, 1))
    places = ("/early_stop/patience_evals", "/evaluation/every_steps", "/budget/max_steps")
    return resting_on([fault.model_copy(update={"code": "early_stop_never"})], *places)


def early_stop_faults(spec: JobSpec, guards: Sequence[Guard], catalogue: Catalogue) -> list[Fault]:
    """What is wrong with `spec.early_stop`, `guards` being the spec's own or the default ones."""
    rule = spec.early_stop
    if rule is None:
        return []
    if rule.metric == "guards" and not guards:
        detail = "It looks at guards, and this job has none."
        return [Fault(pointer="/early_stop/metric", code="no_guards", detail=detail)]
    if rule.reward is None or rule.metric != "unseen_reward":
        return []
    row = find_row(rule.reward, catalogue.rewards)
    if row is None:
        return [unknown_row("reward", rule.reward, catalogue.rewards, "/early_stop/reward")]
    known = [find_row(guard.reward, catalogue.rewards) for guard in guards]
    watched = [found.id for found in known if found is not None]
    if row.id not in watched:
        return [_not_a_guard(rule.reward, watched)]
    return _trained_on(row, spec, catalogue)


def _not_a_guard(reward: str, watched: list[str]) -> Fault:
    return Fault(
        pointer="/early_stop/reward",
        code="not_a_guard",
        detail=f"{reward!r} is none of this job's guards: {', '.join(watched) or 'it has none'}. "
        "List it in `guards` to watch it.",
        nearest=[*watched],
        rests_on=("/guards",),
    )


def _trained_on(row: RewardRow, spec: JobSpec, catalogue: Catalogue) -> list[Fault]:
    trained = [find_row(term.reward, catalogue.rewards) for term in spec.rewards]
    if row.id not in [found.id for found in trained if found is not None]:
        return []
    detail = f"{row.id} is one of `rewards`: what is trained on is not unseen."
    return [Fault(pointer="/early_stop/reward", code="trained_on", detail=detail)]
