"""The adapter's model card (README.md), with what a reader needs to judge and to load it. Free of torch."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import JsonValue

from vader_core.card_method import method_facts, trained_by
from vader_core.catalogue import BaseModelRow
from vader_core.guard_rules import in_figures
from vader_core.lines import (
    EvaluationDone,
    GuardResult,
    PairsNeeded,
    RewardDifference,
    Step,
    StopReason,
)
from vader_core.output import Metric
from vader_core.snippet import Loading, snippet
from vader_core.spec import JobSpec, RewardTerm, spec_hash
from vader_core.state import TrainState
from vader_core.weights_lock import commit_of

CURVE_FILE = "reward_curve.svg"
_CURVE_ROWS = 10


@dataclass(frozen=True)
class StartedFrom:
    """The adapter or checkpoint that a run started from, and how much of it: its weights or its full state."""

    name: str
    state: Literal["weights", "full"]


@dataclass(frozen=True)
class Story:
    """Everything a finished run can say about its adapter. `final` is None for a cancelled run;
    `steps_asked` are the steps of the budget as it was at the end."""

    spec: JobSpec
    steps_asked: int
    base_model: BaseModelRow
    loading: Loading
    progress: TrainState
    metrics: Sequence[Metric]
    final: EvaluationDone | None
    stop_reason: StopReason
    gpu_seconds: float
    started_from: StartedFrom | None = None


def lineage(story: Story) -> dict[str, JsonValue]:
    """What lineage.json says: where the adapter comes from, in enough detail to make it again."""
    spec, base_model, progress = story.spec, story.base_model, story.progress
    return {
        "base_model": {
            "id": base_model.id,
            "version": base_model.version,
            "revision": commit_of(base_model.weights, base_model.folder),
            "licence": base_model.licence,
            "variant": _variant_lineage(story),
        },
        "method": spec.method.model_dump(mode="json"),
        "rewards": [term.model_dump(mode="json") for term in spec.rewards],
        "measured_scales": {name: scales.model_dump() for name, scales in progress.scales.items()},
        "guards": [guard.model_dump(mode="json") for guard in spec.guards or []],
        "prompts_sha256": prompts_hash(spec),
        "spec_hash": spec_hash(spec),
        "started_from": asdict(story.started_from) if story.started_from else None,
        "seed": spec.seed,
        "evaluation_seeds": [*spec.evaluation.seeds],
        "steps": progress.step,
        "early_stop": spec.early_stop.model_dump(mode="json") if spec.early_stop else None,
        "adapter_step": progress.step if progress.restored_step is None else progress.restored_step,
        "stop_reason": story.stop_reason,
        "verdict": story.final.verdict if story.final else None,
        "versions": {**progress.versions},
    }


def _variant_lineage(story: Story) -> JsonValue:
    """The distilled form that the adapter belongs to; None for the base model as it is."""
    variant = story.base_model.variants.get(story.spec.variant or "")
    if variant is None:
        return None
    return {
        "name": story.spec.variant,
        "revision": variant.weights.pinned_as if variant.weights else None,
        "licence": variant.licence,
    }


def prompts_hash(spec: JobSpec) -> str:
    """sha256 over the prompts in canonical JSON, 64 hex digits."""
    prompts = [prompt.model_dump(mode="json") for prompt in spec.prompts.inline or []]
    canonical = json.dumps(prompts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def card(story: Story) -> str:
    """The text of README.md."""
    title = story.spec.name or f"Adapter for {story.base_model.id}"
    sections = [
        _front_matter(story),
        f"# {title}\n",
        _answer(story),
        "## Load it\n",
        _load(story),
        "## How it was made\n",
        _facts(story),
        "## Evaluation\n",
        _evaluation(story),
        "## Reward curve\n",
        _curve(story.metrics),
    ]
    return "\n".join(sections)


def curve_points(
    metrics: Sequence[Metric],
) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """(step, reward) of the training steps and of the evaluations."""
    training = [(line.step, line.reward) for line in metrics if isinstance(line, Step)]
    heldout = [
        (line.step if line.adapter_step is None else line.adapter_step, line.heldout_reward)
        for line in metrics
        if isinstance(line, EvaluationDone)
    ]
    return training, heldout


def _front_matter(story: Story) -> str:
    task = "image-to-video" if story.base_model.needs_image else "text-to-video"
    return "\n".join(
        [
            "---",
            f"base_model: {json.dumps(story.base_model.id)}",
            "library_name: diffusers",
            f"pipeline_tag: {task}",
            f"tags: [lora, {task}, {story.spec.method.type.replace('_', '-')}]",
            "---\n",
        ]
    )


def _answer(story: Story) -> str:
    rewards = " + ".join(
        term.reward if term.weight == 1 else f"{term.weight:g} x {term.reward}"
        for term in story.spec.rewards
    )
    intro = (
        f"LoRA adapter for {story.base_model.title} (`{story.base_model.id}`), trained to raise "
        f"{rewards} by {trained_by(story.spec.method)}."
    )
    if story.final is None or story.final.difference is None:
        return f"{intro} The run ended ({story.stop_reason}) before a final evaluation.\n"
    verdict = str(story.final.verdict).replace("_", " ")
    change = story.final.difference
    low, high = change.delta_ci95
    return (
        f"{intro} On {story.final.pairs} held-out pairs of prompt and seed the verdict is **{verdict}**: "
        f"{change.base:.4g} before, {change.adapter:.4g} after, difference {change.delta:+.4g} "
        f"(95 % interval {low:+.4g} to {high:+.4g}).\n"
    )


def _load(story: Story) -> str:
    spec, row = story.spec, story.base_model
    variant = row.variants.get(spec.variant or "")
    prompts = spec.prompts.inline or []
    code = snippet(row, variant, story.loading, prompt=prompts[0].prompt)
    places = [
        f"BASE is the folder or hub id of `{row.id}` (revision {row.revision})",
        "ADAPTER the folder of this file",
    ]
    if "VARIANT" in code and variant is not None and variant.weights is not None:
        places.append(f"VARIANT that of `{spec.variant}` ({variant.weights.repo})")
    if row.needs_image:
        places.append("FIRST_IMAGE an image of the video's shape")
    return f"```python\n{code}```\n\n{', '.join(places)}.\n"


def _facts(story: Story) -> str:
    spec, progress = story.spec, story.progress
    video, adapter, method = spec.video, spec.adapter, spec.method
    learned = " and ".join(f"`{denoiser}`" for denoiser in story.loading.folders)
    base_model = f"`{spec.base_model}`, revision {commit_of(story.base_model.weights, story.base_model.folder)}"
    rows = [
        ("base model", f"{base_model}, licence {story.base_model.licence}"),
        *_variant_facts(story),
        *_start_facts(story),
        (
            "rewards",
            ", ".join(_reward_fact(term) for term in spec.rewards),
        ),
        ("prompts", f"{len(spec.prompts.inline or [])}, sha256 `{prompts_hash(spec)}`"),
        (
            "videos",
            f"{video.num_frames} frames of {video.width}x{video.height}, {video.inference_steps} "
            f"inference steps, guidance {video.guidance_scale:g}",
        ),
        ("adapter", f"LoRA, rank {adapter.rank}, alpha {adapter.alpha:g}, in {learned}"),
        *method_facts(method),
        (
            "optimiser",
            f"AdamW, learning rate {method.learning_rate:g} ({method.lr_schedule}), "
            f"{method.videos_per_step} videos a step",
        ),
        ("seed", str(spec.seed)),
        ("steps", _steps_fact(story)),
        (
            "reward queries",
            f"{progress.reward_queries} in training, {progress.evaluation_queries} in evaluation",
        ),
        ("GPU-seconds", f"{story.gpu_seconds:.0f}"),
        ("spec", f"`{spec_hash(spec)}`"),
        ("software", ", ".join(f"{name} {version}" for name, version in progress.versions.items())),
    ]
    return _table(["what", "value"], [list(row) for row in rows])


def _reward_fact(term: RewardTerm) -> str:
    bounds = [("aim", term.aim), ("cap", term.cap)]
    told = "".join(f", {name} {value:g}" for name, value in bounds if value is not None)
    return f"`{term.reward}` (weight {term.weight:g}{told})"


def _steps_fact(story: Story) -> str:
    progress = story.progress
    told = f"{progress.step} of {story.steps_asked} (ended: {story.stop_reason})"
    if progress.restored_step is None:
        return told
    return f"{told}; the adapter is that of step {progress.restored_step}, the last good evaluation"


def _variant_facts(story: Story) -> list[tuple[str, str]]:
    variant = story.base_model.variants.get(story.spec.variant or "")
    if variant is None:
        return []
    merged = f"`{story.spec.variant}`: {variant.title}, licence {variant.licence}"
    return [("variant", f"{merged}; the adapter belongs to it and not to the base model alone")]


def _start_facts(story: Story) -> list[tuple[str, str]]:
    start = story.started_from
    if start is None:
        return []
    what = {
        "weights": "its weights",
        "full": "its full state: steps and queries count on from there",
    }
    return [("started from", f"`{start.name}`, {what[start.state]}")]


def _evaluation(story: Story) -> str:
    if story.final is None or story.final.difference is None:
        return "There was no final evaluation.\n"
    rows = [_difference_row("weighted sum", story.final.difference)]
    rows += [_difference_row(name, found) for name, found in story.final.per_reward.items()]
    table = _table(["held-out score", "base", "adapter", "difference", "95 % interval"], rows)
    note = (
        "The interval is Student's over the prompts' mean differences; base and adapter start from the "
        "same noise."
        f"{_choice(story.progress.chosen_among)}{_pairs_needed(story.final.pairs_needed)}\n"
    )
    guards = _table(
        ["guard", "base", "adapter", "change", "asked at least", ""],
        [_guard_row(guard) for guard in story.final.guards],
    )
    units = (
        "A guard's change is the ratio to the base model's mean; where the score does not start at 0, it is "
        "the difference in standard deviations (sd) of the base model's single videos.\n"
    )
    return f"{table}\n{note}" + (f"\n{guards}\n{units}" if story.final.guards else "")


def _choice(among: int) -> str:
    if among == 1:
        return ""
    return (
        f" The adapter is the best of {among} by a reward on these same pairs: the interval is as wide as "
        "to hold for all of them at once."
    )


def _pairs_needed(needed: PairsNeeded | None) -> str:
    if needed is None or needed.prompts is None:
        return ""
    goal = {
        "given": "as asked for",
        "seen_difference": "which would just tell this difference of the weighted sum from 0",
    }[needed.wanted]
    return (
        f" By the spread seen here, an interval of +-{needed.half_width:.4g}, {goal}, takes about "
        f"{needed.prompts} held-out prompts ({needed.pairs} pairs)."
    )


def _difference_row(name: str, found: RewardDifference) -> list[str]:
    low, high = found.delta_ci95
    interval = f"{low:+.4g} to {high:+.4g}"
    return [name, f"{found.base:.4g}", f"{found.adapter:.4g}", f"{found.delta:+.4g}", interval]


def _guard_row(guard: GuardResult) -> list[str]:
    held = "held" if guard.ok else "**broken**"
    return [guard.reward, f"{guard.base:.4g}", f"{guard.adapter:.4g}", *in_figures(guard), held]


def _curve(metrics: Sequence[Metric]) -> str:
    training, heldout = curve_points(metrics)
    per_row = max(-(-len(training) // _CURVE_ROWS), 1)
    windows = [training[i : i + per_row] for i in range(0, len(training), per_row)]
    rows = [
        [_span(window[0][0], window[-1][0]), f"{statistics.fmean(r for _, r in window):.4g}"]
        for window in windows
    ]
    evaluations = [[str(step), f"{reward:.4g}"] for step, reward in heldout]
    return "\n".join(
        [
            f"![Reward by step]({CURVE_FILE})\n",
            _table(["steps", "mean training reward"], rows),
            _table(["after step", "held-out reward"], evaluations),
        ]
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
