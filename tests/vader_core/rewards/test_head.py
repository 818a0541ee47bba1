from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vader_core.rewards.head import Head, HeadConfig


@pytest.mark.parametrize("between", ["none", "relu"])
@pytest.mark.parametrize("output", ["none", "sigmoid"])
def test_saved_head_comes_back(between: str, output: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(widths=[8, 6, 1], between=between, output=output))
    head.save_pretrained(tmp_path, "mood")
    embeddings = torch.randn(5, 8)
    found = Head.from_pretrained(tmp_path, "mood")(embeddings)
    hidden = head.layers[0](embeddings)
    expected = head.layers[1](hidden.relu() if between == "relu" else hidden)[:, 0]
    assert torch.equal(found, expected.sigmoid() if output == "sigmoid" else expected)


def test_two_heads_share_a_folder(tmp_path: Path) -> None:
    for name, width in (("mood", 8), ("rain", 4)):
        Head(HeadConfig(widths=[width, 1])).save_pretrained(tmp_path, name)
    assert Head.from_pretrained(tmp_path, "mood").config.widths == [8, 1]
    assert Head.from_pretrained(tmp_path, "rain").config.widths == [4, 1]
