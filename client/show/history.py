"""What a job has left behind, as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from client.models import AttemptRecord, Checkpoint, Curve, Evaluations, Event, Metrics, Sample
from client.show.evaluations import evaluation_lines
from client.show.tables import moment, number, show_lines, show_table, size


def show_events(console: Console, events: Sequence[Event]) -> None:
    """A line each."""
    show_lines(console, [_event_line(event) for event in events])


def show_feed(console: Console, events: Sequence[Event]) -> None:
    """A line each, with the job."""
    show_lines(console, [f"{event.job_id}  {_event_line(event)}" for event in events])


def show_metrics(console: Console, metrics: Metrics) -> None:
    """A row for each curve."""
    rows = [
        (
            curve.key,
            str(curve.total or len(curve.y)),
            *_extent(curve),
        )
        for curve in metrics.series
    ]
    titles = ("metric", "points", "first", "last", "highest", f"at {metrics.x}")
    show_table(console, titles, rows)


def show_evaluations(console: Console, found: Evaluations) -> None:
    """A row for each evaluation, and the verdict."""
    rows = []
    for one in found.rounds:
        step = (one.model_extra or {}).get("step", "")
        low, high = one.delta_ci95 or (None, None)
        interval = "" if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]"
        rows.append(
            (
                one.kind,
                str(step),
                _score(one.baseline_heldout_reward),
                _score(one.heldout_reward),
                interval,
            )
        )
    show_table(console, ("kind", "step", "base", "adapter", "difference (95 %)"), rows)
    if found.final is not None:
        show_lines(console, evaluation_lines(found.final))


def show_attempts(console: Console, attempts: Sequence[AttemptRecord]) -> None:
    """A row each."""
    rows = [
        (
            str(one.number),
            one.outcome or "running",
            one.hardware,
            "" if one.resumed_from_step is None else str(one.resumed_from_step),
            str(one.last_step),
            moment(one.started_at),
        )
        for one in attempts
    ]
    show_table(console, ("attempt", "outcome", "on", "from step", "to step", "started"), rows)


def show_checkpoints(console: Console, checkpoints: Sequence[Checkpoint]) -> None:
    """A row each."""
    rows = [
        (
            one.id,
            str(one.step),
            size(one.size_bytes),
            moment(one.created_at),
            "" if one.expired_at is None else "expired",
        )
        for one in checkpoints
    ]
    show_table(console, ("checkpoint", "step", "size", "stored", ""), rows)


def show_samples(console: Console, samples: Sequence[Sample]) -> None:
    """A row each."""
    rows = [
        (one.id, str(one.step), one.role, f"{one.score:.4f}", one.pair, one.prompt)
        for one in samples
    ]
    show_table(console, ("sample", "step", "of", "score", "pair", "prompt"), rows)


def _extent(curve: Curve) -> tuple[str, str, str, str]:
    """First, last and highest value, and where that is."""
    points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if y is not None]
    if not points:
        return ("-", "-", "-", "-")
    at, highest = max(points, key=lambda point: point[1])
    return (f"{points[0][1]:.4g}", f"{points[-1][1]:.4g}", f"{highest:.4g}", number(at))


def _event_line(event: Event) -> str:
    name = event.type.removeprefix("job.")
    step = "" if event.step is None else f" step {event.step}"
    return f"{event.seq:>5}  {event.at.astimezone():%m-%d %H:%M:%S}  {name}{step}  {event.message}".rstrip()


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
