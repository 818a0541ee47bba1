from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from vader_core.catalogue import BUILT_IN, BaseModelRow, Catalogue, RewardRow
from vader_core.errors import CatalogueUnusable


def rows_file(folder: Path, **rows: object) -> Path:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


ROWS = [*BUILT_IN.base_models.values(), *BUILT_IN.rewards.values()]


def test_every_row_that_is_shipped_with_weights_has_them() -> None:
    shipped = [row for row in ROWS if row.weights is not None and row.weights.built_in]
    assert {"tiny-unet", "tiny-wan", "tiny-action"} <= {row.id for row in shipped}
    assert all(row.installed for row in shipped)
    assert all(row.folder and list(row.folder.rglob("*.safetensors")) for row in shipped)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_of_others_models_names_licence_and_source(row: BaseModelRow | RewardRow) -> None:
    if row.weights is not None and row.weights.repo is not None:
        assert row.licence
        assert row.source


@pytest.mark.parametrize("row", BUILT_IN.base_models.values(), ids=lambda row: row.id)
def test_the_defaults_of_a_base_model_are_legal(row: BaseModelRow) -> None:
    rule, defaults = row.sizes, row.defaults
    assert defaults.width in rule.sides(rule.widths)
    assert defaults.height in rule.sides(rule.heights)
    assert defaults.num_frames in rule.frames()


@pytest.mark.parametrize("row", BUILT_IN.rewards.values(), ids=lambda row: row.id)
def test_a_rewards_parameters_are_described_by_a_sound_schema(row: RewardRow) -> None:
    jsonschema.Draft202012Validator.check_schema(row.params_schema)
    assert row.params_schema["additionalProperties"] is False


def test_weights_from_the_hub_lie_in_the_weights_folder(tmp_path: Path) -> None:
    row = Catalogue.load(weights_dir=tmp_path).base_models["wan2.1-t2v-1.3b"]
    assert row.folder == tmp_path / "Wan-AI--Wan2.1-T2V-1.3B-Diffusers"
    assert not row.installed
    row.folder.mkdir()
    (row.folder / "model_index.json").write_text("{}")
    assert row.installed


def test_operators_add_rows_for_the_models_they_hold(tmp_path: Path) -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_dump(mode="json")
    ours = {**row, "id": "ours", "weights": {"folder": "/models/ours"}}
    catalogue = Catalogue.load(rows_file(tmp_path, base_models=[ours]))
    assert catalogue.base_models["ours"].folder == Path("/models/ours")
    assert "tiny-wan" in catalogue.base_models


def test_weights_come_from_one_place(tmp_path: Path) -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_dump(mode="json")
    ours = {**row, "id": "ours", "weights": {"folder": "/models/ours", "repo": "us/ours"}}
    with pytest.raises(CatalogueUnusable, match="exactly one of"):
        Catalogue.load(rows_file(tmp_path, base_models=[ours]))


def test_a_name_cannot_be_taken_twice(tmp_path: Path) -> None:
    row = BUILT_IN.rewards["motion"].model_dump(mode="json")
    with pytest.raises(CatalogueUnusable, match="'motion' twice"):
        Catalogue.load(rows_file(tmp_path, rewards=[row]))


def test_a_malformed_row_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CatalogueUnusable, match="/base_models/0/licence"):
        Catalogue.load(rows_file(tmp_path, base_models=[{"id": "x"}]))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueUnusable, match=r"absent\.json"):
        Catalogue.load(tmp_path / "absent.json")
