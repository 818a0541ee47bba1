from __future__ import annotations

import json
from pathlib import Path

import pytest

from vader_core.catalogue import BUILT_IN, Catalogue


def rows_file(folder: Path, **rows: object) -> Path:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def test_every_built_in_row_has_its_weights() -> None:
    folders = [row.folder for row in BUILT_IN.base_models.values()]
    folders += [row.folder for row in BUILT_IN.rewards.values() if row.folder is not None]
    assert folders
    assert all(list(folder.rglob("*.safetensors")) for folder in folders)


def test_operators_add_rows_for_the_models_they_hold(tmp_path: Path) -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_dump(mode="json")
    extra = rows_file(tmp_path, base_models=[{**row, "id": "ours", "folder": "/models/ours"}])
    catalogue = Catalogue.load(extra)
    assert catalogue.base_models["ours"].folder == Path("/models/ours")
    assert "tiny-wan" in catalogue.base_models


def test_a_name_cannot_be_taken_twice(tmp_path: Path) -> None:
    row = BUILT_IN.rewards["motion"].model_dump(mode="json")
    with pytest.raises(ValueError, match="'motion' is used twice"):
        Catalogue.load(rows_file(tmp_path, rewards=[row]))


def test_a_malformed_row_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="licence"):
        Catalogue.load(rows_file(tmp_path, base_models=[{"id": "x"}]))
