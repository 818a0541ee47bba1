"""Drawn videos whose attributes are known."""

from __future__ import annotations

import torch

from vader_core.tiny import pictures, world


def _drawn(count: int = 64, *, plain: bool = False, haze: bool = False) -> pictures.Pictures:
    generator = torch.Generator().manual_seed(5)
    return pictures.draw(count, generator=generator, plain=plain, haze=haze)


def test_plain_pictures_show_one_whole_shape_inside_its_box() -> None:
    shown = _drawn(plain=True)
    assert (shown.opacity_BO[:, 0] == 1).all()
    assert (shown.opacity_BO[:, 1] == 0).all()
    assert set(shown.kind_BOS[:, 0].flatten().tolist()) == {0.0, 1.0}
    pixel = torch.arange(world.SIZE) + 0.5
    for frames_FCHW, box_F4 in zip(shown.frames_BFCHW, shown.box_BFOX[:, :, 0], strict=True):
        x, y, width, height = (box_F4[0] * world.SIZE).tolist()
        inside_x, inside_y = (pixel - x).abs() < width / 2 + 1, (pixel - y).abs() < height / 2 + 1
        outside_HW = ~(inside_y[:, None] & inside_x[None])
        bright_HW = frames_FCHW[0].amax(0)
        assert bright_HW[outside_HW].max() < 0.3
        assert bright_HW[~outside_HW].max() > 0.3


def test_objects_are_absent_faint_mixed_and_in_pairs() -> None:
    shown = _drawn(256)
    first_B, second_B = shown.opacity_BO.unbind(1)
    assert 0.02 < float((first_B == 0).float().mean()) < 0.25
    assert 0.1 < float((second_B > 0).float().mean()) < 0.4
    assert ((shown.opacity_BO > 0) & (shown.opacity_BO < 1)).any()
    assert (shown.kind_BOS.amax(-1) < 0.9).any()
    assert torch.allclose(shown.kind_BOS.sum(-1), torch.ones(256, pictures.OBJECTS))


def test_haze_lifts_the_dark_and_is_drawn_only_where_it_is_asked_for() -> None:
    shown = _drawn(256, haze=True)
    darkest_B = shown.frames_BFCHW[:, 0].amax(1).flatten(1).quantile(0.1, dim=1)
    assert darkest_B[shown.haze_B > 0.6].min() > darkest_B[shown.haze_B == 0].mean()
    assert _drawn().haze_B.max() == 0


def test_decoded_pictures_look_like_drawn_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    decoded = pictures.draw_decoded(4, generator=generator)
    drawn = torch.cat(
        [
            pictures.draw(2, generator=other, plain=True).frames_BFCHW
            for other in [torch.Generator().manual_seed(2)]
        ]
    )
    assert decoded.frames_BFCHW.shape == (4, pictures.FRAMES, 3, world.SIZE, world.SIZE)
    assert 0 < (decoded.frames_BFCHW[:2] - drawn).abs().mean() < 0.05


def test_a_mix_has_half_as_many_decoded_pictures_as_new_ones() -> None:
    mixed = pictures.mix(_drawn(3), count=8, generator=torch.Generator().manual_seed(1))
    assert len(mixed.haze_B) == 12
    assert all(len(getattr(mixed, name)) == 12 for name in ("frames_BFCHW", "box_BFOX"))
