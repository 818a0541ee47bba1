"""One run while it goes on: what it works with, how far it is, and what it may still use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from safetensors.torch import load_file, save

from vader_core import adapter as adapters
from vader_core import checkpoints, early_stop, lines
from vader_core.ceilings import Clock, Used, reached, utc_now
from vader_core.errors import SpecUnusable
from vader_core.evaluation import Evaluator, heldout_pairs
from vader_core.files import described_tree, write_synced
from vader_core.lines import StopReason
from vader_core.method_spec import OnlineSettings
from vader_core.methods import learner_of
from vader_core.methods.videos import training_prompts
from vader_core.order import Order
from vader_core.output import Output
from vader_core.samples import Samples
from vader_core.spec import JobSpec, Prompt, spec_hash
from vader_core.state import TrainState
from vader_core.statistics import FEWEST_PROMPTS
from vader_core.stopping import StopFlag
from vader_core.workbench import Workbench, set_up, versions

PhaseName = Literal["loading", "evaluating_base", "training", "evaluating", "exporting"]
_STATE = "state.json"
_METRICS = "metrics.jsonl"
_LEARNER = "learner.safetensors"
_KEPT = "kept.safetensors"

_log = logging.getLogger(__name__)


class Run:
    """A run from the moment its models are loaded. `kept` is the adapter that an early stop goes back to."""

    def __init__(
        self,
        order: Order,
        bench: Workbench,
        progress: TrainState,
        *,
        stop: StopFlag,
        output: Output,
    ) -> None:
        self.order, self.spec, self.bench, self.progress = order, order.spec, bench, progress
        self.stop, self.output, self.folder = stop, output, order.folder
        self.clock = Clock(order.spent, started=order.started)
        self.clock.count_earlier(
            gpu_seconds=progress.gpu_seconds, wall_clock_s=progress.wall_clock_s
        )
        bench.objective.calibrate(progress.scales)
        self.learner = learner_of(bench, order.spec)
        self.evaluator = Evaluator(bench.base, bench.objective, order.spec)
        self.samples = Samples(order.folder, output, fps=order.spec.video.fps or 1)
        self.kept: adapters.State | None = None
        self._saved_step: int | None = None

    def enter(self, phase: PhaseName) -> None:
        self.output.emit(lines.Phase(at=utc_now(), step=self.progress.step, phase=phase))

    @property
    def evaluation_due(self) -> bool:
        """Whether a periodic evaluation comes before the next step."""
        return self.progress.evaluation_due(self.spec.evaluation.every_steps)

    def exhausted(self) -> StopReason | None:
        """The ceiling that forbids another step."""
        videos = self.spec.method.videos_per_step * self.spec.method.scores_per_video
        used = Used(
            steps=self.progress.step,
            reward_queries=self.progress.reward_queries,
            gpu_seconds=self.clock.gpu_seconds,
            wall_clock_s=self.clock.wall_clock_s,
            now=utc_now(),
            queries_per_step=videos * self.bench.objective.queries_per_training_video,
            seconds_per_step=max(self.progress.recent_step_seconds, default=0.0),
            # A guard that compares with the base model has its videos sampled once more.
            base_evaluation_s=self.progress.base_evaluation_s
            * (2 if self.bench.objective.needs_reference else 1),
            evaluation_due=self.evaluation_due,
        )
        return reached(self.spec.budget, used, cost_gpu_seconds=self.clock.cost_gpu_seconds)

    def save_if_due(self) -> None:
        """Writes the periodic checkpoint of this step, after the evaluation that belongs to the step.

        So the checkpoint holds what an early stop goes by, and none is written twice under one name.
        """
        if self.progress.step % self.spec.checkpoints.every_steps == 0 and not self.evaluation_due:
            self.save()

    def save(self) -> None:
        """Writes a checkpoint of this step, unless this process has done so already."""
        if self._saved_step == self.progress.step:
            return
        self.progress.gpu_seconds = self.clock.gpu_seconds
        self.progress.wall_clock_s = self.clock.wall_clock_s
        path = checkpoints.write(
            self.folder.checkpoints,
            step=self.progress.step,
            fill=self._fill,
            keep_last=self.spec.checkpoints.keep_last,
        )
        self._saved_step = self.progress.step
        self.output.emit(
            lines.Checkpoint(
                at=utc_now(),
                step=self.progress.step,
                path=path.relative_to(self.folder.root).as_posix(),
                files=described_tree(path, run_folder=self.folder.root),
            )
        )

    def _fill(self, folder: Path) -> None:
        self.bench.save(folder)
        write_synced(folder / _LEARNER, save(self.learner.state_dict()))
        if self.kept is not None:
            write_synced(folder / _KEPT, save(self.kept))
        write_synced(folder / _STATE, self.progress.model_dump_json(indent=2).encode())
        write_synced(folder / _METRICS, self.output.metrics_so_far())

    def keep_good_adapter(self) -> None:
        """Keeps the adapter that has just been evaluated, if an early stop would go back to it."""
        if early_stop.is_worth_keeping(self.progress, self.spec):
            self.kept = self.bench.adapter.state_dict()

    def go_back(self) -> None:
        """Takes the kept adapter in place of the last step's, and says so. Without one nothing happens."""
        rule = self.spec.early_stop
        if rule is None or self.kept is None:
            return
        good = early_stop.standing(self.progress.evaluations, rule, self.spec.guards or [])
        self.bench.adapter.load_state_dict(self.kept)
        self.progress.restored_step = good.good_step
        self.progress.chosen_among = early_stop.chosen_among(self.progress, rule)
        watched = "the guards" if rule.reward is None else rule.reward
        message = (
            f"The early stop by {watched} went back to the adapter of step {good.good_step}, the last good "
            f"evaluation; {good.evaluations_since} came after it."
        )
        self.output.emit(
            lines.Warned(
                at=utc_now(), step=self.progress.step, code="adapter_restored", message=message
            )
        )

    def rescue(self) -> None:
        """Saves the last finished step of a run that is failing, if that still works.

        Raises nothing: the failure that brought the run here is the one to be told.
        """
        if self.progress.base_scores is None:
            return
        try:
            self.save()
        except Exception:
            _log.exception("There is no checkpoint of step %d.", self.progress.step)


def open_run(order: Order, *, stop: StopFlag, output: Output) -> Run:
    """Loads everything and goes back to the newest whole checkpoint, if that is asked for.

    Raises `SpecUnusable` for a checkpoint of another spec and for a method that cannot work with the base
    model's sampler, `WeightsUnreadable`, `CheckpointUnusable`.
    """
    _warn_of_unpriced_cost(order, output)
    folder = _checkpoint(order, output)
    progress = TrainState(spec_hash=spec_hash(order.spec), versions=versions())
    if folder is None:
        _warn_of_few_heldout_prompts(order, output)
    else:
        progress = _former_state(folder, progress, output)
    output.go_back_to((folder / _METRICS).read_bytes() if folder else b"")
    output.emit(lines.Phase(at=utc_now(), step=progress.step, phase="loading"))
    bench = set_up(order)
    if folder is not None:
        bench.restore(folder)
    run = Run(order, bench, progress, stop=stop, output=output)
    if folder is not None:
        run.learner.load_state_dict(load_file(folder / _LEARNER))
        if (folder / _KEPT).exists():
            run.kept = load_file(folder / _KEPT)
    _encode_prompts(run)
    if folder is None:
        # Before the base evaluation is paid for.
        run.learner.check()
    _announce(run, resumed_from=progress.step if folder else None)
    return run


def _checkpoint(order: Order, output: Output) -> Path | None:
    def warn(code: str, message: str) -> None:
        output.emit(lines.Warned(at=utc_now(), step=0, code=code, message=message))

    if not order.resume:
        return None
    return checkpoints.newest_whole(order.folder.checkpoints, warn=warn)


def _former_state(folder: Path, fresh: TrainState, output: Output) -> TrainState:
    former = TrainState.model_validate_json((folder / _STATE).read_bytes())
    if former.spec_hash != fresh.spec_hash:
        raise SpecUnusable(
            f"{folder.name} was written for another spec ({former.spec_hash}).",
            hint="Resume with the very spec of that run, or start afresh in another folder.",
        )
    if former.versions != fresh.versions:
        message = f"The checkpoint was written with {former.versions}, this is {fresh.versions}."
        output.emit(
            lines.Warned(at=utc_now(), step=former.step, code="versions_differ", message=message)
        )
    return former.model_copy(update={"versions": fresh.versions})


def _warn_of_unpriced_cost(order: Order, output: Output) -> None:
    if order.spec.budget.max_cost is None or order.spent.cost_gpu_seconds is not None:
        return
    message = "budget.max_cost is not enforced: what it buys was not given (--cost-gpu-seconds)."
    output.emit(lines.Warned(at=utc_now(), step=0, code="cost_not_priced", message=message))


def _warn_of_few_heldout_prompts(order: Order, output: Output) -> None:
    count = len({pair.prompt_id for pair in heldout_pairs(order.spec)})
    if count >= FEWEST_PROMPTS:
        return
    message = (
        f"{count} held-out prompts will be compared; with fewer than {FEWEST_PROMPTS} the verdict "
        "is no_clear_difference whatever the adapter does."
    )
    code = "too_few_heldout_prompts"
    output.emit(lines.Warned(at=utc_now(), step=0, code=code, message=message))


def _encode_prompts(run: Run) -> None:
    """Encodes every prompt that the rest of the run will use, then lets the text encoder go."""
    spec = run.spec
    training = prompts_to_train_on(spec, run.bench.prompts)
    used = [*training, *(pair.prompt for pair in run.evaluator.pairs)]
    _log.info("encoding %d prompts", len({prompt.prompt for prompt in used}))
    run.bench.base.encode(used, spec.video)
    run.bench.base.drop_text_encoders()


def prompts_to_train_on(spec: JobSpec, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Those of `prompts` that training videos are made for, each step's in their order.

    A job of few steps does not get round to all. One that does takes each at least once in as many
    groups of videos as there are prompts; later videos bring none that is new.
    """
    method = spec.method
    group = method.group_size if isinstance(method, OnlineSettings) else 1
    videos = min(spec.budget.max_steps * method.videos_per_step, len(prompts) * group)
    return training_prompts(spec, prompts, range(0, videos, group))


def _announce(run: Run, *, resumed_from: int | None) -> None:
    parameters = run.bench.adapter.parameters()
    compute = run.bench.compute
    run.output.emit(
        lines.Started(
            at=utc_now(),
            step=run.progress.step,
            resumed_from=resumed_from,
            device=str(compute.device),
            precision=str(compute.dtype).removeprefix("torch."),
            steps_total=run.spec.budget.max_steps,
            trainable_parameters=sum(parameter.numel() for _, parameter in parameters),
            versions=run.progress.versions,
        )
    )
