"""What is wrong with a spec's method beside its video and its rewards. Free of torch.

Denoising steps and frames are counted from 0. Only `reward_gradient` chooses frames: the other methods
score whole videos.
"""

from __future__ import annotations

from pydantic import JsonValue

from vader_core.catalogue import BaseModelRow, Catalogue, RewardRow, find_row
from vader_core.faults import Fault, not_in_set, resting_on
from vader_core.method_spec import Ddpo, Frames, Grpo, OnlineSettings, RewardGradient
from vader_core.spec import Guard, JobSpec, RewardTerm, Video

_STEPS = "/video/inference_steps"


def method_faults(
    spec: JobSpec, video: Video, row: BaseModelRow, catalogue: Catalogue
) -> list[Fault]:
    """Faults of `spec.method`, with `video` the spec's own after defaults."""
    faults: list[Fault] = []
    steps, frames = video.inference_steps or 1, video.num_frames or 1
    if isinstance(spec.method, RewardGradient):
        faults += _gradient_step_faults(spec.method, steps)
        faults += _frame_number_faults(spec.method.frames, frames)
        faults += _weighted_frame_faults(spec, spec.method.frames, catalogue)
        faults += _relative_prompt_faults(spec, spec.method, catalogue)
    else:
        faults += _rollout_faults(spec, spec.method, steps, row)
    faults += _revisit_faults(spec, row)
    return faults + _movement_faults(spec, frames, catalogue)


def _revisit_faults(spec: JobSpec, row: BaseModelRow) -> list[Fault]:
    """What needs single denoising steps of a base model whose steps do not stand alone."""
    method = spec.method
    if row.revisitable:
        return []
    reason = f"{row.id} samples more than the video: no denoising step can be looked at by itself. "
    if not isinstance(method, RewardGradient):
        detail = f"{reason}Only reward_gradient trains it; got {method.type}."
        return [Fault(pointer="/method/type", code="method_not_possible", detail=detail)]
    faults: list[Fault] = []
    if method.path in {"last_step_redraws", "direct_align"}:
        detail = f"{reason}Legal: sampler, leap, clean_prediction; got {method.path}."
        faults.append(Fault(pointer="/method/path", code="method_not_possible", detail=detail))
    if method.base_sample_weight > 0:
        detail = f"{reason}Use prediction_penalty as the anchor."
        pointer = "/method/base_sample_weight"
        faults.append(Fault(pointer=pointer, code="method_not_possible", detail=detail))
    return faults


def _gradient_step_faults(method: RewardGradient, steps: int) -> list[Fault]:
    if method.step_choice == "given":
        given = [
            not_in_set(
                f"/method/given_steps/{i}",
                f"The last of {steps} inference steps is step {steps - 1}; got {step}.",
                steps - 1,
            )
            for i, step in enumerate(method.given_steps or [])
            if step >= steps
        ]
        return resting_on(given, _STEPS)
    chosen, legal, of = method.differentiable_steps, steps, f"the {steps} inference steps"
    if method.step_choice in {"random", "even"}:
        legal = len(method.steps_in_range(steps))
        of = f"the {legal} inference steps (of {steps}) within step_range"
    low, high = method.step_range
    if chosen <= legal or low >= high:
        return []
    if legal == 0:
        return resting_on([_no_steps(low, steps)], _STEPS)
    detail = f"At most {of} can be differentiable; got {chosen}."
    fault = not_in_set("/method/differentiable_steps", detail, legal)
    return resting_on([fault], _STEPS, "/method/step_range", "/method/step_choice")


def _no_steps(low: float, steps: int) -> Fault:
    """`nearest` is the part of the denoising around the one step where the range begins."""
    first = min(round(low * steps), steps - 1)
    part: list[JsonValue] = [round(first / steps, 4), round((first + 1) / steps, 4)]
    detail = f"None of the {steps} inference steps lies within it."
    return Fault(pointer="/method/step_range", code="no_steps", detail=detail, nearest=[part])


def _rollout_faults(
    spec: JobSpec, method: OnlineSettings, steps: int, row: BaseModelRow
) -> list[Fault]:
    """Training rollouts may be shorter than evaluations, but not longer; not all steps may be learnt from."""
    sampled = method.sampling_steps or steps
    fewest = steps if spec.variant is not None else min(row.min_steps, steps)
    faults: list[Fault] = []
    if not fewest <= sampled <= steps:
        bounds = f"{steps}" if fewest == steps else f"{fewest} to {steps}"
        detail = f"Training rollouts of this job have {bounds} denoising steps; got {sampled}."
        nearest = min(max(sampled, fewest), steps)
        faults.append(not_in_set("/method/sampling_steps", detail, nearest))
        sampled = nearest
    faults += _learnt_step_faults(method, sampled)
    return resting_on(faults, _STEPS, "/method/sampling_steps")


def _learnt_step_faults(method: OnlineSettings, sampled: int) -> list[Fault]:
    # The last step of a stochastic sampler adds no noise: a policy has nothing to choose there.
    policy = isinstance(method, Ddpo | Grpo)
    learnable = sampled - 1 if policy else sampled
    if learnable < 1:
        place = "/method/sampling_steps" if method.sampling_steps else _STEPS
        detail = "The method learns from all denoising steps but the last: it needs 2."
        return [not_in_set(place, detail, 2)]
    if method.train_steps is None or method.train_steps <= learnable:
        return []
    detail = (
        f"{learnable} of the {sampled} denoising steps of a training rollout can be learnt "
        f"from; got {method.train_steps}."
    )
    return [not_in_set("/method/train_steps", detail, learnable)]


def _frame_number_faults(chosen: Frames, frames: int) -> list[Fault]:
    faults: list[Fault] = []
    if chosen.index is not None and chosen.index >= frames:
        detail = f"The last of {frames} frames has index {frames - 1}; got {chosen.index}."
        faults.append(not_in_set("/method/frames/index", detail, frames - 1))
    if chosen.n is not None and chosen.n > frames:
        detail = f"A video has {frames} frames; got n = {chosen.n}."
        faults.append(not_in_set("/method/frames/n", detail, frames))
    return resting_on(faults, "/video/num_frames")


def _weighted_frame_faults(spec: JobSpec, frames: Frames, catalogue: Catalogue) -> list[Fault]:
    if not frames.centre_decay:
        return []
    whole = [row.id for row in _reward_rows(spec, catalogue) if row.per != "frame"]
    if not whole:
        return []
    detail = (
        f"Only rewards that score frame by frame have frames to weigh; not so: {', '.join(whole)}."
    )
    return [Fault(pointer="/method/frames/centre_decay", code="not_per_frame", detail=detail)]


def _relative_prompt_faults(
    spec: JobSpec, method: RewardGradient, catalogue: Catalogue
) -> list[Fault]:
    """A reward that does not look at the prompt gives both prompts the same score: nothing is left."""
    if method.relative_prompt is None:
        return []
    blind = [row.id for row in _reward_rows(spec, catalogue) if not row.reads_prompt]
    if not blind:
        return []
    detail = f"It takes rewards that look at the prompt; not so: {', '.join(blind)}."
    return [Fault(pointer="/method/relative_prompt", code="prompt_not_read", detail=detail)]


def _reward_rows(spec: JobSpec, catalogue: Catalogue) -> list[RewardRow]:
    """The rewards that are known."""
    found = (find_row(term.reward, catalogue.rewards) for term in spec.rewards)
    return [row for row in found if row is not None]


def _movement_faults(spec: JobSpec, frames: int, catalogue: Catalogue) -> list[Fault]:
    """Rewards that look at movement need frames to see it in, in the video and among those chosen."""
    terms = [(f"/rewards/{i}", _fewest(t, catalogue)) for i, t in enumerate(spec.rewards)]
    guards = [(f"/guards/{i}", _fewest(g, catalogue)) for i, g in enumerate(spec.guards or [])]
    faults = _too_few("/video/num_frames", terms + guards, frames)
    if isinstance(spec.method, RewardGradient):
        chosen = _frames_chosen(spec.method.frames, frames)
        too_few = _too_few("/method/frames", terms, chosen) if chosen < frames else []
        faults += resting_on(too_few, "/video/num_frames")
    return faults


def _too_few(pointer: str, needs: list[tuple[str, int]], frames: int) -> list[Fault]:
    short = [f"{place} needs {fewest}" for place, fewest in needs if frames < fewest]
    if not short:
        return []
    detail = f"Too few frames to score: {', '.join(short)}; this gives {frames}."
    return [Fault(pointer=pointer, code="too_few_frames", detail=detail)]


def _frames_chosen(frames: Frames, num_frames: int) -> int:
    if frames.mode == "every_nth":
        return len(range(0, num_frames, frames.n or 1))
    few = {"index": 1, "random": frames.n or 1, "first_middle_last": 3}
    return min(few.get(frames.mode, num_frames), num_frames)


def _fewest(term: RewardTerm | Guard, catalogue: Catalogue) -> int:
    """The fewest frames that the reward of `term` can score."""
    row = find_row(term.reward, catalogue.rewards)
    return 1 if row is None else row.fewest_frames
