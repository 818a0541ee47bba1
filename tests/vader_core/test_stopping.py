from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from vader_core.stopping import StopFlag, Stopped


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "stop.json"


def test_nothing_is_asked_at_first(file: Path) -> None:
    flag = StopFlag(file)
    assert flag.wish() is None
    flag.raise_if_asked()


@pytest.mark.parametrize("reason", ["cancelled", "deadline", "gpu_seconds", "wall_clock", "cost"])
def test_the_stop_file_names_the_reason(file: Path, reason: str) -> None:
    file.write_text(f'{{"reason": "{reason}"}}')
    assert StopFlag(file).wish() == reason


@pytest.mark.parametrize("text", ["", '{"reason": "canc', '{"reason": "lunch"}'])
def test_a_file_that_is_not_whole_asks_for_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert StopFlag(file).wish() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_and_wins_over_the_file(file: Path, number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    flag = StopFlag(file)
    try:
        flag.catch_signals()
        file.write_text('{"reason": "cancelled"}')
        os.kill(os.getpid(), number)
        assert flag.wish() == "interrupted"
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_finishing_run_leaves_only_for_a_cancellation_or_an_interruption(file: Path) -> None:
    flag = StopFlag(file)
    file.write_text('{"reason": "deadline"}')
    flag.raise_if_asked(while_finishing=True)
    with pytest.raises(Stopped, match="deadline"):
        flag.raise_if_asked()
    file.write_text('{"reason": "cancelled"}')
    with pytest.raises(Stopped, match="cancelled"):
        flag.raise_if_asked(while_finishing=True)
