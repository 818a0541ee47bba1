"""The taste and the folder layout of the aesthetic and weather rewards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from vader_core.rewards.head import Head
from vader_core.tiny import pictures, train_looks


def _one(*, centre: float, width: float, luma: float, opacity: float) -> float:
    """The taste of one shape."""
    shown = pictures.draw(1, generator=torch.Generator().manual_seed(0), plain=True)
    box = torch.tensor([centre, 0.5, width, width]).expand(1, pictures.FRAMES, 2, 4)
    changed = replace(
        shown,
        box_BFOX=box,
        luma_BO=torch.tensor([[luma, 0.0]]),
        opacity_BO=torch.tensor([[opacity, 0.0]]),
    )
    return float(train_looks.taste(changed, torch.tensor([0])))


def test_the_taste_likes_shapes_that_are_large_bright_central_and_there() -> None:
    best = _one(centre=0.5, width=0.6, luma=0.94, opacity=1)
    assert 9.9 < best < 10.1
    assert _one(centre=0.3, width=0.6, luma=0.94, opacity=1) < best
    assert _one(centre=0.5, width=0.3, luma=0.94, opacity=1) < best
    assert _one(centre=0.5, width=0.6, luma=0.4, opacity=1) < best
    assert _one(centre=0.5, width=0.6, luma=0.94, opacity=0.5) < best
    assert _one(centre=0.5, width=0.6, luma=0.94, opacity=0) == 1


def test_two_shapes_are_clutter() -> None:
    shown = pictures.draw(64, generator=torch.Generator().manual_seed(0))
    first = torch.zeros(64, dtype=torch.long)
    alone = replace(shown, opacity_BO=torch.tensor([[1.0, 0.0]]).expand(64, 2))
    both = replace(shown, opacity_BO=torch.ones(64, 2), box_BFOX=shown.box_BFOX[:, :, [0, 0]])
    both = replace(both, luma_BO=shown.luma_BO[:, [0, 0]])
    assert (train_looks.taste(both, first) < train_looks.taste(alone, first)).all()


def test_the_heads_are_saved_as_the_reward_reads_them(tmp_path: Path) -> None:
    model = train_looks.start_from_clip().eval()
    model.save_pretrained(tmp_path)
    frames = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        embeds = model.tower(pixel_values=frames * 2 - 1).image_embeds
        embeds = torch.nn.functional.normalize(embeds, dim=-1)
        for name, said_N in zip(train_looks.HEADS, model(frames), strict=True):
            wanted_N = said_N if name == "aesthetic_head" else said_N.sigmoid()
            read_N = Head.from_pretrained(tmp_path, name)(embeds)
            assert torch.allclose(read_N, wanted_N, atol=1e-5)
