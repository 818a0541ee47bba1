from __future__ import annotations

from pathlib import Path

import pytest

from client.errors import FileUnusable
from client.job_file import read_job
from vader_core.catalogue import Catalogue
from vader_core.prompts import split
from vader_core.resolve import check

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_times_stay_text_because_json_has_no_times(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("budget: {deadline_at: 2026-11-24T06:00:00Z, max_steps: 3}")
    assert read_job(path) == {"budget": {"deadline_at": "2026-11-24T06:00:00Z", "max_steps": 3}}


def test_json_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text('{"base_model": "tiny-unet", "seed": 3}')
    assert read_job(path) == {"base_model": "tiny-unet", "seed": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1", "is not YAML"),
        ("- 1", "must hold an object"),
        ("!!python/name:os.system x", "YAML"),
    ],
)
def test_what_is_no_job_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(FileUnusable, match=told):
        read_job(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="cannot be read"):
        read_job(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_a_job_the_service_takes(path: Path) -> None:
    catalogue = Catalogue.load(EXAMPLES / "catalogue-wan2.1.json")
    spec = check(read_job(path), catalogue, lambda _: None)
    training, heldout = split(spec.prompts.inline or [], spec.prompts.heldout_fraction)
    assert training
    assert len(heldout) >= spec.evaluation.num_prompts


def test_the_folder_page_names_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in page
