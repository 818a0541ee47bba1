"""One whole job from first images, by the real trainer: an operator's small random Wan image-to-video model."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from domain import artifacts, db, jobs
from domain.callers import Origin
from domain.settings import Settings, get_settings
from domain.store import open_store
from tests.vader_core.conformance import models_wan
from tests.worker.bench import Bench
from tests.worker.conftest import ROOT, set_short_times
from vader_core.catalogue import Catalogue
from vader_core.resolve import check


@pytest.fixture
def operators(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of an operator whose catalogue has the model, and whose trainer is the real one."""
    row = models_wan.build_image(tmp_path / "model").model_copy(update={"id": "from-image"})
    own = json.loads(row.model_dump_json(exclude={"folder"}))
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_text(json.dumps({"base_models": [own]}))
    set_short_times(monkeypatch, catalogue_file=catalogue, trainer_threads=1, device="cpu")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    return get_settings()


def picture(colour: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(target, format="PNG")
    return target.getvalue()


def document(images: list[str]) -> dict[str, object]:
    return {
        "base_model": "from-image",
        "rewards": [{"reward": "motion"}],
        "guards": [],
        "prompts": {
            "inline": [
                {"prompt": f"circle {i}", "image": image, "heldout": i == 1}
                for i, image in enumerate(images)
            ]
        },
        "method": {"gradient_accumulation": 1},
        "adapter": {"rank": 2},
        "budget": {"max_steps": 1},
        "evaluation": {"num_prompts": 1, "seeds": [11], "samples_to_keep": 1},
    }


def test_a_job_from_first_images_ends_with_an_adapter(operators: Settings) -> None:
    assert operators.trainer_command == [sys.executable, "-m", "vader_core"]
    bench = Bench(operators, open_store(operators))
    images = [bench.upload(picture(colour)) for colour in ("red", "blue")]
    asked = document(images)
    catalogue = Catalogue.load(operators.catalogue_file)
    with db.transaction() as session:
        job = jobs.create(
            session,
            spec=check(asked, catalogue, lambda _: None),
            asked_spec=asked,
            origin=Origin(project_id=bench.project_id, trace_id=""),
        )
    bench.attempt()
    ended = bench.job(job.id)
    assert (ended.status, ended.error) == ("succeeded", None)
    assert {file["path"] for file in bench.adapter(job.id).files} >= {"adapter_config.json"}
    with db.read() as session:
        videos = artifacts.samples(session, job_id=job.id)
    assert {video.role for video in videos} == {"base", "adapter"}
