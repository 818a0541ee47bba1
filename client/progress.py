"""Shows a job's progress while it runs: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from client.models import Event, Job
from client.sync.api import VaderClient
from client.tracker import Tracker

_PLAIN_EVERY_S = 5.0
# There is one for every video, which says little to someone who waits for the whole.
_QUIET = {"job.sample_ready"}


class Display(Protocol):
    """Something that shows events; used as a context manager around the watching."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, event: Event, tracker: Tracker) -> None:
        """Shows `event`, which `tracker` has taken already."""


def show_until_ended(
    client: VaderClient, job: Job, *, console: Console, as_json: bool = False
) -> Job:
    """Shows the job's events from its first one to its end: as JSON lines, as a live bar where `console`
    is a terminal, as plain lines where it is not. The job as it ended."""
    return watch(client, job, JsonDisplay(console.file) if as_json else display_for(console))


def watch(client: VaderClient, job: Job, display: Display) -> Job:
    """Shows the job's events from its first one to its end. The job as it ended."""
    tracker = Tracker(job)
    with display:
        for event in client.events(job.id):
            tracker.take(event)
            display.show(event, tracker)
    return client.job(job.id)


def display_for(console: Console) -> Display:
    """A live bar where `console` is a terminal, plain lines where it is not."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class JsonDisplay:
    """Every event as one line of JSON."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __enter__(self) -> JsonDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._out.flush()

    def show(self, event: Event, tracker: Tracker) -> None:
        """Writes the event."""
        self._out.write(json.dumps(event.model_dump(mode="json", exclude_unset=True)) + "\n")
        self._out.flush()


class PlainDisplay:
    """One line for what happens, and one every few seconds for the steps."""

    def __init__(self, console: Console) -> None:
        self._console, self._last_step_at = console, 0.0

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._console.file.flush()

    def show(self, event: Event, tracker: Tracker) -> None:
        """Prints the event."""
        if event.type == "job.metric":
            last = tracker.step == tracker.steps_total
            if not last and time.monotonic() - self._last_step_at < _PLAIN_EVERY_S:
                return
            self._last_step_at = time.monotonic()
            self._print(event, f"step {tracker.step}/{tracker.steps_total}  {figures(tracker)}")
        elif event.type not in _QUIET:
            self._print(event, told(event))

    def _print(self, event: Event, text: str) -> None:
        line = Text(f"{event.at.astimezone():%H:%M:%S}  {text}")
        self._console.print(line, soft_wrap=True, highlight=False)


class LiveDisplay:
    """A bar over the steps with the figures beside it; what happens scrolls above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("queued", total=1.0, figures="")

    def __enter__(self) -> LiveDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: Event, tracker: Tracker) -> None:
        """Moves the bar, and prints whatever is not a step."""
        self._progress.update(
            self._task,
            description=tracker.phase,
            completed=tracker.step,
            total=tracker.steps_total or 1,
            figures=figures(tracker),
        )
        if event.type not in {*_QUIET, "job.metric", "job.phase_changed"}:
            self._progress.console.print(Text(told(event)), highlight=False)


def figures(tracker: Tracker) -> str:
    """Reward, held-out reward against the base model's, what is left of the budget, time to go."""
    parts = [f"reward {_score(tracker.reward)}"]
    heldout = f"held-out {_score(tracker.heldout_reward)}"
    if tracker.baseline_heldout_reward is not None:
        heldout += f" (base {_score(tracker.baseline_heldout_reward)})"
    parts.append(heldout)
    if tracker.queries_left is not None:
        parts.append(f"queries left {tracker.queries_left}")
    if tracker.seconds_left is not None:
        parts.append(f"seconds left {tracker.seconds_left:.0f}")
    if tracker.eta_s is not None:
        parts.append(f"ETA {_duration(tracker.eta_s)}")
    return "  ".join(parts)


def told(event: Event) -> str:
    """An event as a line of text."""
    name = event.type.removeprefix("job.").replace("_", " ")
    return f"{name}: {event.message}" if event.message else name


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
