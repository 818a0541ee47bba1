"""Verdicts with their intervals and guards, as text."""

from __future__ import annotations

from client.models import Evaluation, Guard, PairsNeeded

_VERDICTS = {
    "improved": "improved: the adapter scores higher on held-out prompts",
    "no_clear_difference": "no clear difference on held-out prompts",
    "worse": "worse: the adapter scores lower on held-out prompts",
}


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """Verdict, paired difference with its interval, and guards."""
    lines: list[str] = []
    if evaluation.verdict is not None:
        lines.append(f"verdict     {_VERDICTS[evaluation.verdict]}")
    if evaluation.baseline_heldout_reward is not None and evaluation.heldout_reward is not None:
        base = f"held-out    base {evaluation.baseline_heldout_reward:.4f}"
        adapter = f" -> adapter {evaluation.heldout_reward:.4f}"
        lines.append(base if evaluation.kind == "base" else base + adapter)
    if evaluation.best_heldout_reward is not None:
        best = f"{evaluation.best_heldout_reward:.4f}"
        lines.append(f"best        {best} at step {evaluation.best_step}, during training")
    if evaluation.delta is not None and evaluation.delta_ci95 is not None:
        low, high = evaluation.delta_ci95
        lines.append(
            f"difference  {evaluation.delta:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}]"
        )
    if evaluation.adapter_step is not None:
        lines.append(
            f"adapter     of step {evaluation.adapter_step}: the early stop went back to it"
        )
    if evaluation.pairs_needed is not None:
        lines.append(f"pairs       {_needed(evaluation.pairs_needed)}")
    return lines + [_guard_line(guard) for guard in evaluation.guards]


_UNKNOWN = {
    "too_few_prompts": "with fewer than 3 held-out prompts there is never a verdict",
    "no_spread": "all held-out prompts differ alike: how many are needed cannot be told",
    "no_difference": "there is no difference for which to say how many are needed",
    "out_of_reach": "more than a million held-out prompts would be needed",
}


def _needed(needed: PairsNeeded) -> str:
    """How many held-out pairs the wanted interval takes, or why nobody can say."""
    if needed.prompts is None or needed.half_width is None:
        return _UNKNOWN.get(needed.unknown_because or "", "how many are needed is not known")
    goal = "to tell this difference from 0" if needed.wanted == "seen_difference" else "as asked"
    return (
        f"about {needed.pairs} needed ({needed.prompts} prompts) for an interval of "
        f"+-{needed.half_width:.4f}, {goal}"
    )


def _guard_line(guard: Guard) -> str:
    state = "holds" if guard.ok else "BROKEN"
    if guard.rule == "drop":
        change = "-" if guard.drop is None else f"{-guard.drop:+.2f}"
        asked = "" if guard.max_drop is None else f", at least -{guard.max_drop:.2f}"
        unit = "deviations of the base model's videos"
    else:
        change = "-" if guard.ratio_to_base is None else f"{guard.ratio_to_base:.2f}"
        asked = f", at least {guard.min_ratio_to_base:.2f}" if guard.min_ratio_to_base else ""
        unit = "of the base model's"
    return f"guard       {guard.reward} {state}: {change} {unit}{asked}"
