"""A run that is killed and resumed ends as the run left alone, bit for bit."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from pathlib import Path

import pytest

from tests.vader_core.trainer import figures, finished, start, write_spec

_CHANGES = {
    "budget": {"max_steps": 9},
    "evaluation": {"every_steps": 3, "num_prompts": 2, "seeds": [1]},
    "adapter": {"dropout": 0.2},
    "method": {
        "frames": {"mode": "random", "n": 2},
        "lr_schedule": "cosine",
        "warmup_steps": 2,
        "weight_decay": 0.01,
        "gradient_accumulation": 2,
        "batch_size": 1,
    },
}


def adapter_bytes(out: Path) -> bytes:
    return (out / "adapter/adapter_model.safetensors").read_bytes()


def kill_at_a_random_moment(spec: Path, out: Path, rng: random.Random) -> str:
    """Starts or resumes the run and kills it by SIGKILL; says when that was."""
    process = start(spec, out, "--resume")
    assert process.stdout is not None
    lines, wait_s = rng.randint(2, 16), rng.uniform(0.0, 0.4)
    seen = [json.loads(text) for text in itertools.islice(process.stdout, lines)]
    time.sleep(wait_s)
    process.kill()
    process.communicate()
    last = seen[-1]
    return f"{wait_s:.2f} s after its line {lines}: {last['type']} of step {last['step']}"


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left-alone")
    status, _, log = finished(start(write_spec(folder, **_CHANGES), folder / "out"))
    assert status == 0, log
    return folder / "out"


def test_killed_at_random_moments_it_ends_the_same(left_alone: Path, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed of the kills: {seed}\n")
    rng = random.Random(seed)
    spec, out = write_spec(tmp_path, **_CHANGES), tmp_path / "out"
    for _ in range(3):
        sys.stdout.write(f"killed {kill_at_a_random_moment(spec, out, rng)}\n")
    status, _, log = finished(start(spec, out, "--resume"))
    assert status == 0, log
    assert adapter_bytes(out) == adapter_bytes(left_alone)
    assert figures(out / "metrics.jsonl") == figures(left_alone / "metrics.jsonl")
    steps = [line["step"] for line in figures(out / "metrics.jsonl") if line["type"] == "step"]
    assert steps == list(range(1, 10))
