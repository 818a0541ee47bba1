from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from vader_core import curve


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline points="([^"]*)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in lines]  # type: ignore[misc]


def test_the_picture_holds_both_lines_the_right_way_up() -> None:
    svg = curve.svg([(1, 0.2), (2, 0.4), (3, 0.3)], [(0, 0.1), (3, 0.6)])
    ET.fromstring(svg)
    training, heldout = points(svg)
    assert len(training) == 3
    assert heldout[0][0] < training[0][0] < training[-1][0] == heldout[-1][0]
    assert heldout[0][1] > training[0][1] > training[1][1] > heldout[1][1]


@pytest.mark.parametrize("heldout", [[], [(0, 0.5)], [(0, 0.5), (1, 0.5)]])
def test_a_run_with_little_to_show_still_has_a_picture(heldout: list[tuple[int, float]]) -> None:
    ET.fromstring(curve.svg([], heldout))
