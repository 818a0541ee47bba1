from __future__ import annotations

import pytest
import torch

from vader_core import seeds
from vader_core.frames import choose, every_frame
from vader_core.method_spec import Frames


def generators(count: int) -> list[torch.Generator]:
    return [seeds.generator(1, step=0, purpose="frames", index=index) for index in range(count)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Frames(), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Frames(mode="every_nth", n=3), [0, 3, 6]),
        (Frames(mode="first_middle_last"), [0, 3, 7]),
        (Frames(mode="index", index=5), [5]),
    ],
)
def test_fixed_modes_choose_the_same_frames_for_every_video(
    selection: Frames, expected: list[int]
) -> None:
    assert choose(selection, num_frames=8, generators=generators(2)).tolist() == [expected] * 2


def test_first_middle_last_of_a_short_video_has_no_frame_twice() -> None:
    chosen = choose(Frames(mode="first_middle_last"), num_frames=2, generators=generators(1))
    assert chosen.tolist() == [[0, 1]]


def test_random_frames_are_distinct_sorted_and_the_generators_own() -> None:
    selection = Frames(mode="random", n=4)
    chosen = choose(selection, num_frames=9, generators=generators(50))
    assert chosen.shape == (50, 4)
    assert (chosen.diff(dim=1) > 0).all()
    assert set(chosen.flatten().tolist()) == set(range(9))
    again = choose(selection, num_frames=9, generators=generators(50)[7:])
    assert torch.equal(chosen[7:], again)


def test_every_frame_counts_up_for_every_video() -> None:
    assert every_frame(num_frames=3, batch=2).tolist() == [[0, 1, 2], [0, 1, 2]]
