"""Jobs, problems and verdicts as text for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.errors import RequestRefused, VaderError
from client.models import Evaluation, Guard, Job, PairsNeeded

_UNBOUNDED = 10_000
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
    rows: list[Sequence[str]] = []
    for job in jobs:
        progress = job.progress
        step = f"{progress.step}/{progress.steps_total}" if progress else ""
        verdict = (job.evaluation and job.evaluation.verdict) or ""
        created = f"{job.created_at.astimezone():%Y-%m-%d %H:%M}"
        rows.append((job.id, job.name, job.status, step, verdict, created))
    show_table(console, ("job", "name", "status", "step", "verdict", "created"), rows)


def show_table(console: Console, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Nothing is cut: the first column, of ids, stays whole, and the others wrap on a narrow terminal.

    What is no terminal gets a line for every row.
    """
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        widest = max(len(title), *(len(row[0]) for row in rows)) if rows else len(title)
        table.add_column(title, overflow="fold", min_width=None if number else widest)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    whole = console if console.is_terminal else Console(file=console.file, width=_UNBOUNDED)
    whole.print(table, crop=False)


def show_job(console: Console, job: Job) -> None:
    """One job in some lines."""
    lines = [f"{job.id}  {job.name}".rstrip(), f"status      {_status(job)}"]
    if job.method:
        lines.append(f"method      {job.method}")
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
        base = f"held-out    base {evaluation.baseline_heldout_reward:.4f}"
        adapter = f" -> adapter {evaluation.heldout_reward:.4f}"
        lines.append(base if evaluation.kind == "base" else base + adapter)
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


def _status(job: Job) -> str:
    text = job.status if job.phase in {None, job.status} else f"{job.status} ({job.phase})"
    if job.queue is not None and job.queue.position is not None:
        text += f", place {job.queue.position} in the queue"
    return f"{text}, because of {job.stop_reason}" if job.stop_reason else text
