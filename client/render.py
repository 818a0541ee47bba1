"""Jobs, problems and verdicts as text for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.errors import RequestRefused, VaderError
from client.models import Evaluation, Guard, Job

_VERDICTS = {
    "improved": "improved: the adapter scores higher on held-out prompts",
    "no_clear_difference": "no clear difference on held-out prompts",
    "worse": "worse: the adapter scores lower on held-out prompts",
}


def show_error(console: Console, error: VaderError) -> None:
    """What went wrong, with every fault the service named."""
    if not isinstance(error, RequestRefused):
        console.print(Text(f"Error: {error}"), soft_wrap=True, highlight=False)
        return
    problem = error.problem
    console.print(Text(f"Refused ({problem.status} {problem.code}): {problem.title}"))
    if problem.detail:
        console.print(Text(problem.detail), soft_wrap=True)
    for fault in problem.errors:
        near = ", ".join(str(value) for value in fault.nearest)
        hint = f" Nearest: {near}." if near else ""
        console.print(
            Text(f"  {fault.pointer or '/'}: {fault.detail}{hint}"), soft_wrap=True, highlight=False
        )
    if problem.allowed_actions:
        console.print(Text(f"Possible now: {', '.join(problem.allowed_actions)}"))
    if problem.request_id:
        console.print(Text(f"Request: {problem.request_id}"), style="dim")


def show_jobs(console: Console, jobs: Sequence[Job]) -> None:
    """A table of jobs."""
    table = Table(box=None, pad_edge=False)
    for title in ("job", "name", "status", "step", "verdict", "created"):
        table.add_column(title, no_wrap=title != "name")
    for job in jobs:
        progress = job.progress
        step = f"{progress.step}/{progress.steps_total}" if progress else ""
        verdict = (job.evaluation and job.evaluation.verdict) or ""
        created = f"{job.created_at.astimezone():%Y-%m-%d %H:%M}"
        row = (job.id, job.name, job.status, step, verdict, created)
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def show_job(console: Console, job: Job) -> None:
    """One job in some lines."""
    lines = [f"{job.id}  {job.name}".rstrip(), f"status      {_status(job)}"]
    if job.progress is not None:
        lines.append(f"step        {job.progress.step} of {job.progress.steps_total}")
    if job.evaluation is not None:
        lines += evaluation_lines(job.evaluation)
    if job.adapter is not None:
        lines.append(f"adapter     {job.adapter.id}")
    if job.error is not None:
        lines.append(f"error       {job.error.code}: {job.error.message}")
        lines += [f"hint        {job.error.hint}"] if job.error.hint else []
    console.print(Text("\n".join(lines)), soft_wrap=True, highlight=False)


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """Verdict, paired difference with its interval, and guards."""
    lines: list[str] = []
    if evaluation.verdict is not None:
        lines.append(f"verdict     {_VERDICTS[evaluation.verdict]}")
    if evaluation.baseline_heldout_reward is not None and evaluation.heldout_reward is not None:
        lines.append(
            f"held-out    base {evaluation.baseline_heldout_reward:.4f} -> "
            f"adapter {evaluation.heldout_reward:.4f}"
        )
    if evaluation.delta is not None and evaluation.delta_ci95 is not None:
        low, high = evaluation.delta_ci95
        lines.append(
            f"difference  {evaluation.delta:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}]"
        )
    return lines + [_guard_line(guard) for guard in evaluation.guards]


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


def _status(job: Job) -> str:
    text = job.status if job.phase in {None, job.status} else f"{job.status} ({job.phase})"
    if job.queue is not None and job.queue.position is not None:
        text += f", place {job.queue.position} in the queue"
    return f"{text}, because of {job.stop_reason}" if job.stop_reason else text
