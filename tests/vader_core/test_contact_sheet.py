from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from vader_core.contact_sheet import SheetRow, write_sheet


def strip(folder: Path, colour: str) -> Path:
    path = folder / f"{colour}.png"
    Image.new("RGB", (8 * 132, 128), colour).save(path)
    return path


def row(folder: Path, prompt: str) -> SheetRow:
    return SheetRow(prompt, 11, 0.25, 0.75, strip(folder, "red"), strip(folder, "blue"))


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def places(picture: np.ndarray, channel: int) -> np.ndarray:
    """Rows of the picture in which one pure colour fills a good part."""
    others = picture.sum(-1) - picture[..., channel]
    pure = (picture[..., channel] == 255) & (others == 0)
    return np.flatnonzero(pure.mean(1) > 0.3)


def test_the_base_row_stands_over_the_adapter_row(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", [row(tmp_path, "a red circle")], title="what it shows")
    picture = drawn(tmp_path / "sheet.png")
    red, blue = places(picture, 0), places(picture, 2)
    assert len(red) == len(blue) == 96
    assert red.max() < blue.min()
    # There is ink above the rows (title and caption) and beside them (labels and scores).
    assert (picture[: red.min()] < 128).any()
    assert (picture[red.min() :, :90] < 128).any()


def test_pairs_without_scores_are_shown_too(tmp_path: Path) -> None:
    scored = row(tmp_path, "a red circle")
    unscored = dataclasses.replace(scored, base_score=None, adapter_score=None)
    for name, one in (("scored", scored), ("unscored", unscored)):
        write_sheet(tmp_path / f"{name}.png", [one], title="x")
    with_scores, without = drawn(tmp_path / "scored.png"), drawn(tmp_path / "unscored.png")
    assert with_scores.shape == without.shape
    differing = np.argwhere((with_scores != without).any(-1))
    # Nothing but the labels beside the rows differs.
    assert len(differing)
    assert differing[:, 1].max() < 100


def test_many_pairs_stand_in_two_columns_and_long_prompts_stay_inside(tmp_path: Path) -> None:
    rows = [row(tmp_path, "a very long prompt that goes on and on " * 10) for _ in range(6)]
    write_sheet(tmp_path / "sheet.png", rows, title="six")
    picture = drawn(tmp_path / "sheet.png")
    assert len(places(picture, 0)) == 3 * 96
    assert picture.shape[1] > 1500
    # Nothing is written into the right margin of the first column.
    half = picture.shape[1] // 2
    assert (picture[:, half - 8 : half] > 200).all()
