from __future__ import annotations

import io

from rich.console import Console

from client.models import Event, Job
from client.progress import Display, LiveDisplay, PlainDisplay, display_for
from client.tracker import Tracker
from tests.client.shapes import event_body, job_body


def _shown(display: Display, steps: int) -> None:
    tracker = Tracker(Job.model_validate(job_body(budget={"steps": {"limit": steps}})))
    bodies = [event_body(1, "started")]
    bodies += [
        event_body(n + 1, "metric", step=n, data={"reward": 0.5}) for n in range(1, steps + 1)
    ]
    bodies += [event_body(steps + 2, "succeeded")]
    with display:
        for body in bodies:
            event = Event.model_validate(body)
            tracker.take(event)
            display.show(event, tracker)


def test_plain_lines_thin_out_the_steps_but_show_the_last_one() -> None:
    out = io.StringIO()
    _shown(PlainDisplay(Console(file=out)), 30)
    lines = [line.partition("  ")[2] for line in out.getvalue().splitlines()]
    assert lines[0] == "started"
    assert lines[1].startswith("step 1/30  reward 0.500")
    assert lines[2].startswith("step 30/30")
    assert lines[3:] == ["succeeded"]


def test_the_live_bar_shows_steps_and_figures() -> None:
    out = io.StringIO()
    _shown(LiveDisplay(Console(file=out, force_terminal=True, width=140)), 3)
    assert "3/3" in out.getvalue()
    assert "reward 0.500" in out.getvalue()


def test_the_display_fits_the_place_it_is_shown_at() -> None:
    assert isinstance(display_for(Console(file=io.StringIO())), PlainDisplay)
    assert isinstance(display_for(Console(file=io.StringIO(), force_terminal=True)), LiveDisplay)
