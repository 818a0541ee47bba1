"""What an attempt at a scoring does: run `vader_core score` on the stored videos."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from domain.scoring_table import Scoring
from domain.settings import Settings
from vader_core.failure import Failure
from vader_core.scoring import ScoreOutput
from worker.short_attempt import Input, Product, Work


def work_of(row: Scoring, settings: Settings) -> Work:
    """For the scoring `row`."""
    names = [f"video-{i}" for i in range(len(row.videos))]
    files = zip(names, row.videos, strict=True)
    return Work(
        verb="score",
        worker="scorer",
        request={
            "reward": row.reward["name"],
            "params": row.params,
            "videos": [
                {"file": name, "prompt": video["prompt"], "target": video["target"]}
                for name, video in zip(names, row.videos, strict=True)
            ],
        },
        inputs=[Input(name, video["key"], video["sha256"]) for name, video in files],
        options={"--device": settings.score_device, "--threads": settings.score_threads},
        limit_s=settings.score_limit_s,
        need_less="Ask with fewer, shorter or smaller videos.",
        read=lambda out: _read(out, videos=len(row.videos)),
    )


def _read(out: Path, *, videos: int) -> Product | Failure | None:
    try:
        output = ScoreOutput.model_validate_json(out.read_bytes())
    except (OSError, ValidationError):
        return None
    if output.error is not None:
        return output.error
    if output.result is None or len(output.result.scores) != videos:
        return None
    return Product({"result": output.result.model_dump(mode="json")})
