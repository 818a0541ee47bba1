from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.errors import FileUnusable
from client.job_file import read_job, uploaded
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


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_a_job_the_service_takes(path: Path, tmp_path: Path) -> None:
    catalogue = catalogue_with_weights(path.parent / "catalogue.json", tmp_path)
    spec = check(read_job(path), catalogue, lambda _: None)
    training, heldout = split(spec.prompts.inline or [], spec.prompts.heldout_fraction)
    assert training
    # Fewer carry no verdict, and none that is held out is left unused.
    assert 3 <= len(heldout) <= spec.evaluation.num_prompts


def catalogue_with_weights(extra: Path, folder: Path) -> Catalogue:
    """The catalogue, rows of `extra` among it, of an installation into which everything was fetched."""
    catalogue = Catalogue.load(extra, weights_dir=folder)
    folders = [row.folder for row in catalogue.base_models.values()]
    folders += [row.folder for row in catalogue.rewards.values() if row.folder is not None]
    installed = [path / "model_index.json" for path in folders if path.is_relative_to(folder)]
    for row in catalogue.base_models.values():
        for form in row.variants.values():
            installed += [file for file in (form.file, form.second_file) if file is not None]
    for file in installed:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return catalogue


def test_the_folder_page_names_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        assert name == "README.md" or f"`{name}`" in page


def _with_images(*images: str | None) -> dict[str, Any]:
    return {"prompts": {"inline": [{"prompt": "x", "image": image} for image in images]}}


def test_first_images_that_are_local_files_become_uploads_each_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).write_bytes(b"")
    asked: list[Path] = []

    def upload(path: Path) -> str:
        asked.append(path)
        return f"upl_{path.stem}"

    document = _with_images("a.png", "sub/b.png", "a.png", "upl_1", None)
    made = uploaded(document, folder=tmp_path, upload=upload)
    assert made == _with_images("upl_a", "upl_b", "upl_a", "upl_1", None)
    assert document == _with_images("a.png", "sub/b.png", "a.png", "upl_1", None)
    assert asked == [tmp_path / "a.png", tmp_path / "sub" / "b.png"]


def test_a_first_image_that_is_not_there_is_told_before_any_upload(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    asked: list[Path] = []
    with pytest.raises(FileUnusable, match=r"b\.png"):
        uploaded(
            _with_images("a.png", "b.png"),
            folder=tmp_path,
            upload=lambda path: str(asked.append(path)),
        )
    assert asked == []


@pytest.mark.parametrize("document", [{}, {"prompts": 3}, {"prompts": {"inline": [1, {}]}}])
def test_a_document_without_images_stays_as_it_is(document: dict[str, Any], tmp_path: Path) -> None:
    assert uploaded(document, folder=tmp_path, upload=str) == document
