"""Opens a run: from the base model alone, from its own newest checkpoint, or from what another run left."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from vader_core import checkpoints, lines
from vader_core.ceilings import utc_now
from vader_core.errors import SpecUnusable
from vader_core.evaluation import heldout_pairs
from vader_core.order import Order
from vader_core.output import Output
from vader_core.plan import FEWEST_PROMPTS
from vader_core.run import KEPT_FILE, LEARNER_FILE, METRICS_FILE, STATE_FILE, Run
from vader_core.starting import full_state, take_weights
from vader_core.state import TrainState
from vader_core.stopping import StopFlag
from vader_core.training_hash import continuation_hash, training_hash
from vader_core.workbench import set_up, versions


def open_run(order: Order, *, stop: StopFlag, output: Output) -> Run:
    """Loads everything and goes back to the newest whole checkpoint, if that is asked for.

    Without one the run starts from what `order.start` names. Raises `SpecUnusable` for a checkpoint of
    another training and for a method that cannot work with the base model's sampler, `StartUnusable`
    for a start that does not fit, `WeightsUnreadable`, `CheckpointUnusable`.
    """
    _warn_of_unpriced_cost(order, output)
    folder = _checkpoint(order, output)
    resumes = folder is not None
    if folder is None and order.start is not None and order.start.state == "full":
        folder = full_state(order.start)
    progress = _fresh_state(order)
    if folder is None:
        _warn_of_few_heldout_prompts(order, output)
    else:
        progress = _former_state(folder, progress, output, resumes=resumes)
    output.go_back_to((folder / METRICS_FILE).read_bytes() if folder else b"")
    output.emit(lines.Phase(at=utc_now(), step=progress.step, phase="loading"))
    bench = set_up(order)
    if folder is not None:
        bench.restore(folder)
    elif order.start is not None:
        take_weights(bench.adapter, order.start.folder)
    run = Run(order, bench, progress, stop=stop, output=output)
    if folder is not None:
        run.learner.load_state_dict(load_file(folder / LEARNER_FILE))
        if (folder / KEPT_FILE).exists():
            run.kept = load_file(folder / KEPT_FILE)
    run.encode_prompts()
    if folder is None:
        # Before the base evaluation is paid for.
        run.learner.check()
    _announce(run, resumed_from=progress.step if folder else None)
    return run


def _fresh_state(order: Order) -> TrainState:
    return TrainState(
        training_hash=training_hash(order.spec),
        continuation_hash=continuation_hash(order.spec),
        versions=versions(),
    )


def _checkpoint(order: Order, output: Output) -> Path | None:
    def warn(code: str, message: str) -> None:
        output.emit(lines.Warned(at=utc_now(), step=0, code=code, message=message))

    if not order.resume:
        return None
    return checkpoints.newest_whole(order.folder.checkpoints, warn=warn)


def _former_state(folder: Path, fresh: TrainState, output: Output, *, resumes: bool) -> TrainState:
    """The state in `folder`, written by this run (`resumes`) or by another that this one continues."""
    former = TrainState.model_validate_json((folder / STATE_FILE).read_bytes())
    if resumes and former.training_hash != fresh.training_hash:
        raise SpecUnusable(
            f"{folder.name} was written for another training ({former.training_hash}).",
            hint="Resume with the spec of that run; only its budget, name, labels, priority and checkpoints "
            "may differ. Or start afresh in another folder.",
        )
    if former.continuation_hash != fresh.continuation_hash:
        raise SpecUnusable(
            f"The full state of step {former.step} was made by a training that this one cannot continue.",
            hint="Only learning rate, schedule, weight decay, budget, how often is evaluated and an early "
            "stop's patience may differ. Start from the state's weights for anything else.",
        )
    if former.versions != fresh.versions:
        message = f"The checkpoint was written with {former.versions}, this is {fresh.versions}."
        output.emit(
            lines.Warned(at=utc_now(), step=former.step, code="versions_differ", message=message)
        )
    return former.model_copy(
        update={"versions": fresh.versions, "training_hash": fresh.training_hash}
    )


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
            steps_total=run.present.budget.max_steps,
            trainable_parameters=sum(parameter.numel() for _, parameter in parameters),
            versions=run.progress.versions,
        )
    )
