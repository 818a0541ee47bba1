"""Lines as the trainer writes them, for tests that need a trainer's story and no trainer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from vader_core import lines

BEGAN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SHA256 = "0" * 64


def file(path: str, *, size_bytes: int = 10, sha256: str = SHA256) -> lines.File:
    return lines.File(path=path, size_bytes=size_bytes, sha256=sha256)


def started(*, resumed_from: int | None = None, steps_total: int = 20) -> lines.Started:
    return lines.Started(
        at=BEGAN,
        step=resumed_from or 0,
        resumed_from=resumed_from,
        device="cpu",
        precision="fp32",
        steps_total=steps_total,
        trainable_parameters=1000,
        versions={"torch": "2.13.0"},
    )


def phase(name: Literal["training", "evaluating", "exporting"], *, step: int = 0) -> lines.Phase:
    return lines.Phase(at=BEGAN, step=step, phase=name)


def step(number: int, **changes: Any) -> lines.Step:
    """Two seconds and eight queries a step."""
    fields: dict[str, Any] = {
        "loss": -0.5,
        "reward": 0.01 * number,
        "reward_std": 0.1,
        "rewards": {"tiny-action@1": 0.01 * number},
        "penalty": 0.0,
        "grad_norm": 1.0,
        "learning_rate": 2e-4,
        "seconds": 2.0,
        "stage_seconds": lines.StageSeconds(
            prefix=1, last_k=0.2, decode=0.2, reward=0.2, backward=0.3, optimiser=0.1
        ),
        "reward_queries": 8 * number,
        "evaluation_queries": 4,
        "gpu_seconds": 2.0 * number,
        "peak_memory_bytes": 10**9,
        "denoiser_forwards": 72 * number,
    }
    at = BEGAN + timedelta(seconds=2 * number)
    return lines.Step(at=at, step=number, **{**fields, **changes})


_NEEDED = lines.PairsNeeded(wanted="given", half_width=0.05, prompts=7, pairs=14)


def evaluation(
    *, kind: Literal["base", "periodic", "final"] = "final", step: int = 20, reward: float = 0.6
) -> lines.EvaluationDone:
    difference = lines.RewardDifference(
        base=0.5, adapter=reward, delta=reward - 0.5, delta_ci95=(0.05, 0.15)
    )
    return lines.EvaluationDone(
        at=BEGAN,
        step=step,
        kind=kind,
        pairs=4,
        heldout_reward=reward,
        baseline_heldout_reward=0.5,
        difference=None if kind == "base" else difference,
        per_reward={},
        guards=[],
        verdict="improved" if kind == "final" else None,
        pairs_needed=None if kind == "base" else _NEEDED,
        reward_queries=8 * step,
        evaluation_queries=8,
        seconds=1.0,
    )


def sample(
    *, role: Literal["base", "adapter"] = "adapter", pair: str = "p_1-s11", step: int = 20
) -> lines.Sample:
    return lines.Sample(
        at=BEGAN,
        step=step,
        role=role,
        pair=pair,
        prompt_id="p_1",
        prompt="a blue circle moving left",
        seed=11,
        score=0.6,
        file=file(f"samples/{pair}-{role}.mp4"),
    )


def sheet() -> lines.Sheet:
    return lines.Sheet(at=BEGAN, step=20, file=file("sheet.png"))


def checkpoint(step: int) -> lines.Checkpoint:
    folder = f"checkpoints/step-{step:06d}"
    names = ("adapter/adapter_model.safetensors", "state.json", "manifest.json")
    files = [file(f"{folder}/{name}") for name in names]
    counters = lines.Counters(
        reward_queries=8 * step,
        evaluation_queries=4,
        gpu_seconds=2.0 * step,
        wall_clock_s=3.0 * step,
    )
    return lines.Checkpoint(at=BEGAN, step=step, path=folder, files=files, counters=counters)


def warned() -> lines.Warned:
    return lines.Warned(at=BEGAN, step=0, code="checkpoint_corrupt", message="One is broken.")


def done(*, step: int = 20, stop_reason: lines.StopReason = "completed_steps") -> lines.Done:
    return lines.Done(
        at=BEGAN,
        step=step,
        stop_reason=stop_reason,
        verdict="improved",
        reward_queries=8 * step,
        evaluation_queries=8,
        gpu_seconds=2.0 * step + 3,
        path="adapter",
        files=[file("adapter/adapter_model.safetensors"), file("adapter/adapter_config.json")],
    )
