"""Job specs in files: YAML or JSON, with one fault for both."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.job_file import read_job
from vader_core.errors import SpecUnusable
from vader_core.spec_file import read_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_trainer_and_client_read_the_same_from_a_job_file(path: Path) -> None:
    assert read_spec(path) == read_job(path)


@pytest.mark.parametrize("name", ["job.yaml", "job.yml", "job.YAML"])
def test_times_stay_text_because_json_has_no_times(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("deadline_at: 2026-11-24T06:00:00Z")
    assert read_spec(path) == {"deadline_at": "2026-11-24T06:00:00Z"}


def test_other_names_are_json_whose_numbers_yaml_would_take_for_text(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"learning_rate": 1e-05}')
    assert read_spec(path) == {"learning_rate": 1e-5}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("job.yaml", "a: [1", "is not a readable YAML file"),
        ("job.yaml", "!!python/name:os.system x", "is not a readable YAML file"),
        ("job.json", "{", "is not a readable JSON file"),
        ("none.yaml", None, "is not a readable YAML file"),
    ],
)
def test_what_cannot_be_read_is_the_specs_fault(
    tmp_path: Path, name: str, text: str | None, told: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecUnusable, match=told):
        read_spec(path)
