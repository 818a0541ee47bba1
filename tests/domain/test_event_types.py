from __future__ import annotations

import re
from pathlib import Path

from domain import event_types
from domain.event_types import EVENT_TYPES, QUIET_TYPES

ROOT = Path(__file__).parents[2]


def test_every_event_that_is_written_can_be_subscribed_to() -> None:
    sources = [*ROOT.glob("domain/*.py"), *ROOT.glob("worker/*.py")]
    written = {
        name
        for path in sources
        if path.name != "event_types.py"
        for name in re.findall(r'"(job\.[a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    audited = set(re.findall(r'action="(job\.[a-z_]+)"', "\n".join(map(Path.read_text, sources))))
    assert written - audited <= set(EVENT_TYPES)
    assert set(EVENT_TYPES) >= QUIET_TYPES


def test_an_unknown_type_is_told_with_the_ones_it_resembles() -> None:
    named, known = ["job.failed", "job.suceeded"], event_types.WEBHOOK_TYPES
    [fault] = event_types.faults(named, pointer="/event_types", known=known)
    assert (fault.pointer, fault.code) == ("/event_types/1", "not_in_set")
    assert "job.succeeded" in fault.nearest
