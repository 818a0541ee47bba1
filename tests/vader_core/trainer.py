"""The trainer as its users meet it: a process with a spec, an output folder and lines on stdout."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vader_core.__main__ import main
from vader_core.lines import AnyLine, parse

Then = Callable[[AnyLine], None]

_PROMPTS = [
    {"prompt": f"a {colour} {shape} moving {way}", "target": f"moving {way}", "heldout": heldout}
    for colour, heldout in (("red", False), ("blue", True))
    for shape in ("circle", "square")
    for way in ("left", "right", "up")
]


def small_spec(**changes: Any) -> dict[str, Any]:
    """A job of a second or two. `changes` replace top-level fields, or their inner fields one by one."""
    spec: dict[str, Any] = {
        "base_model": "tiny-unet",
        "method": {"batch_size": 2, "gradient_accumulation": 1, "learning_rate": 1e-3},
        "adapter": {"rank": 2},
        "rewards": [{"reward": "tiny-action"}],
        "prompts": {"inline": _PROMPTS},
        "video": {"width": 16, "height": 16, "num_frames": 3, "inference_steps": 2},
        "budget": {"max_steps": 3},
        "checkpoints": {"every_steps": 2},
        "evaluation": {"num_prompts": 2, "seeds": [1, 2], "samples_to_keep": 2},
        "seed": 5,
    }
    for name, change in changes.items():
        if isinstance(change, dict) and isinstance(spec.get(name), dict):
            spec[name] = {**spec[name], **change}
        else:
            spec[name] = change
    return spec


def write_spec(folder: Path, **changes: Any) -> Path:
    path = folder / "job.json"
    path.write_text(json.dumps(small_spec(**changes)))
    return path


def start(spec: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """The trainer with one thread, so that its numbers do not depend on the machine's load."""
    command = [sys.executable, "-m", "vader_core", "train", str(spec), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--threads", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, list[AnyLine], str]:
    """Exit status, lines and log of a trainer, once it has ended."""
    try:
        output, log = process.communicate(timeout=250)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, [parse(text) for text in output.splitlines()], log


class Listener(io.StringIO):
    """Stands where stdout is, and calls `then` with every line at the moment it is sent."""

    def __init__(self, then: Then) -> None:
        super().__init__()
        self.lines: list[AnyLine] = []
        self._then = then

    def write(self, text: str) -> int:
        self.lines.append(parse(text))
        self._then(self.lines[-1])
        return len(text)


class Trainer:
    """Runs the command with small specs in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"

    def __call__(
        self, *options: str, then: Then = lambda _line: None, **changes: Any
    ) -> tuple[int, list[AnyLine]]:
        return self.run(write_spec(self.folder, **changes), *options, then=then)

    def run(
        self, spec: Path, *options: str, then: Then = lambda _line: None
    ) -> tuple[int, list[AnyLine]]:
        listener = Listener(then)
        with contextlib.redirect_stdout(listener), process_settings_restored():
            status = main(["train", str(spec), "--out", str(self.out), "--device", "cpu", *options])
        return status, listener.lines

    def stop_file(self, reason: str) -> None:
        (self.out / "stop.json").write_text(f'{{"reason": "{reason}"}}')


@contextlib.contextmanager
def process_settings_restored() -> Iterator[None]:
    """The command owns its process; here it is a guest."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=deterministic)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def of_type(seen: list[AnyLine], kind: type[Any]) -> list[Any]:
    return [line for line in seen if isinstance(line, kind)]


def figures(metrics: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what no two runs share: times, seconds and memory."""
    lines = [json.loads(text) for text in metrics.read_text().splitlines()]
    varying = {"at", "seconds", "stage_seconds", "gpu_seconds", "peak_memory_bytes"}
    return [without(line, varying) for line in lines]


def without(line: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in names}
