"""One run while it goes on: what it works with, how far it is, and what it may still use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from safetensors.torch import save

from vader_core import adapter as adapters
from vader_core import checkpoints, early_stop, lines
from vader_core.ceilings import Clock, Used, reached, utc_now
from vader_core.evaluation import Evaluator
from vader_core.files import described_tree, write_synced
from vader_core.lines import StopReason
from vader_core.method_spec import OnlineSettings
from vader_core.methods import learner_of
from vader_core.methods.videos import training_prompts
from vader_core.order import Order
from vader_core.output import Output
from vader_core.present_budget import Ceilings, PresentBudget
from vader_core.samples import Samples
from vader_core.spec import JobSpec, Prompt
from vader_core.state import TrainState
from vader_core.stopping import StopFlag
from vader_core.workbench import Workbench

PhaseName = Literal["loading", "evaluating_base", "training", "evaluating", "exporting"]
STATE_FILE, METRICS_FILE = "state.json", "metrics.jsonl"
LEARNER_FILE, KEPT_FILE = "learner.safetensors", "kept.safetensors"
_PAUSING = frozenset({"reward_queries", "gpu_seconds", "wall_clock", "deadline", "cost"})

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
        self.present = PresentBudget(
            order.folder.budget_file,
            Ceilings(budget=order.spec.budget, cost_gpu_seconds=order.spent.cost_gpu_seconds),
        )
        self.present.look()
        self.clock = Clock(order.spent, started=order.started)
        self.clock.count_earlier(
            gpu_seconds=progress.gpu_seconds, wall_clock_s=progress.wall_clock_s
        )
        self.repeated = lines.Repeated(
            reward_queries=max(0, order.spent.reward_queries - progress.reward_queries),
            evaluation_queries=max(0, order.spent.evaluation_queries - progress.evaluation_queries),
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
        """The ceiling of the budget as it is now that forbids another step.

        Prompts that only more steps than before come to are encoded.
        """
        steps = self.present.budget.max_steps
        self.present.look()
        if self.present.budget.max_steps > steps:
            self.encode_prompts()
        videos = self.spec.method.videos_per_step * self.spec.method.scores_per_video
        used = Used(
            steps=self.progress.step,
            reward_queries=self.progress.reward_queries + self.repeated.reward_queries,
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
        return reached(self.present.budget, used, cost_gpu_seconds=self.present.cost_gpu_seconds)

    def pauses_at(self, end: StopReason) -> bool:
        """Whether the budget says to pause where `end` ends the steps."""
        return self.present.budget.on_exhausted == "pause" and end in _PAUSING

    def encode_prompts(self) -> None:
        """Encodes every prompt that the rest of the run will use, then lets the text encoder go."""
        spec = self.spec
        steps = self.present.budget.max_steps
        training = prompts_to_train_on(spec, self.bench.prompts, steps=steps)
        used = [*training, *(pair.prompt for pair in self.evaluator.pairs)]
        _log.info("encoding %d prompts", len({prompt.prompt for prompt in used}))
        self.bench.base.encode(used, spec.video)
        self.bench.base.drop_text_encoders()

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
            best=self._best_steps() if self.spec.checkpoints.keep_best_by else (),
        )
        self._saved_step = self.progress.step
        self.output.emit(
            lines.Checkpoint(
                at=utc_now(),
                step=self.progress.step,
                path=path.relative_to(self.folder.root).as_posix(),
                files=described_tree(path, run_folder=self.folder.root),
                counters=self.progress.counters,
            )
        )

    def _best_steps(self) -> list[int]:
        """The steps of the periodic evaluations, the one with the highest held-out reward first."""
        ranked = sorted(
            self.progress.evaluations, key=lambda one: (one.heldout_reward, one.step), reverse=True
        )
        return [evaluation.step for evaluation in ranked if evaluation.step > 0]

    def _fill(self, folder: Path) -> None:
        self.bench.save(folder)
        write_synced(folder / LEARNER_FILE, save(self.learner.state_dict()))
        if self.kept is not None:
            write_synced(folder / KEPT_FILE, save(self.kept))
        write_synced(folder / STATE_FILE, self.progress.model_dump_json(indent=2).encode())
        write_synced(folder / METRICS_FILE, self.output.metrics_so_far())

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


def prompts_to_train_on(spec: JobSpec, prompts: Sequence[Prompt], *, steps: int) -> list[Prompt]:
    """Those of `prompts` that the videos of `steps` steps are made for, each step's in their order.

    A job of few steps does not get round to all. One that does takes each at least once in as many
    groups of videos as there are prompts; later videos bring none that is new.
    """
    method = spec.method
    group = method.group_size if isinstance(method, OnlineSettings) else 1
    videos = min(steps * method.videos_per_step, len(prompts) * group)
    return training_prompts(spec, prompts, range(0, videos, group))
