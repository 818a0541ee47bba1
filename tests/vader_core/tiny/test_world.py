"""The grammar of the tiny world and the drawing of its videos."""

from __future__ import annotations

import pytest
import torch

from vader_core.tiny import world


def _centres(frames_BFCHW: torch.Tensor) -> torch.Tensor:
    """Brightness-weighted centres (B, F, 2) as (x, y) of what stands out from the background."""
    bright = frames_BFCHW.amax(2)
    weight = (bright - 0.35).clamp(min=0)
    pixel = torch.arange(frames_BFCHW.shape[-1]).float()
    total = weight.sum((2, 3))
    x = (weight.sum(2) * pixel).sum(-1) / total
    y = (weight.sum(3) * pixel).sum(-1) / total
    return torch.stack([x, y], -1)


def _drawn(prompt: str, *, count: int = 8, num_frames: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return world.draw([world.parse(prompt)] * count, generator=generator, num_frames=num_frames)


def test_every_prompt_parses_to_the_scene_it_was_made_from() -> None:
    scenes = world.all_scenes()
    assert len(scenes) == len(set(world.all_prompts())) == 72
    assert [world.parse(world.caption(scene)) for scene in scenes] == scenes


def test_a_prompt_may_leave_the_direction_out() -> None:
    scene = world.parse("a green square")
    assert scene == world.Scene("green", "square", None)
    assert scene.action is None
    assert world.caption(scene) == "a green square"


def test_the_action_of_a_scene_is_a_label_of_the_action_reward() -> None:
    assert world.parse("a red circle moving left").action == "moving left"
    assert {scene.action for scene in world.all_scenes()} == set(world.ACTION_LABELS)


@pytest.mark.parametrize(
    "prompt",
    ["", "a red circle moving", "red circle moving left", "a pink circle moving left", "a dog"],
)
def test_a_prompt_outside_the_grammar_is_refused_with_what_is_legal(prompt: str) -> None:
    with pytest.raises(world.GrammarError, match="one of left, right, up, down"):
        world.parse(prompt)


@pytest.mark.parametrize("direction", world.DIRECTION_NAMES)
@pytest.mark.parametrize("num_frames", [8, 9])
def test_the_shape_moves_the_way_its_prompt_says(direction: str, num_frames: int) -> None:
    for shape in world.SHAPES:
        centres = _centres(_drawn(f"a white {shape} moving {direction}", num_frames=num_frames))
        travelled = centres[:, -1] - centres[:, 0]
        heading = torch.tensor(world.DIRECTIONS[direction]).float()
        along = travelled @ heading
        across = (travelled - along[:, None] * heading).norm(dim=1)
        assert (along > 4).all()
        assert (across < 1).all()


@pytest.mark.parametrize("colour", world.COLOUR_NAMES)
def test_the_shape_has_the_colour_of_its_prompt(colour: str) -> None:
    frames = _drawn(f"a {colour} circle moving right")
    centres = _centres(frames)
    wanted = torch.tensor(world.COLOURS[colour])
    for video, path in zip(frames, centres, strict=True):
        x, y = path[3].round().long().tolist()
        assert (video[3, :, y, x] - wanted).abs().max() < 0.12


def test_shapes_have_edges_smoother_than_a_pixel_and_stay_within_range() -> None:
    frames = _drawn("a white circle moving up")
    assert frames.shape == (8, 8, 3, 32, 32)
    assert frames.min() >= 0
    assert frames.max() <= 1
    between = (frames > 0.3) & (frames < 0.8)
    assert between.flatten(2).any(2).all()


def test_the_same_generator_state_draws_the_same_videos() -> None:
    first, second = (
        world.draw_batch(4, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    other = world.draw_batch(4, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first.frames_BFCHW, second.frames_BFCHW)
    assert first.scenes == second.scenes
    assert not torch.equal(first.frames_BFCHW, other.frames_BFCHW)


def test_a_scene_without_a_direction_cannot_be_drawn() -> None:
    with pytest.raises(world.GrammarError, match="names no direction"):
        _drawn("a red circle")


def test_motions_go_as_their_velocity_says() -> None:
    generator = torch.Generator().manual_seed(3)
    motions = world.draw_motions(64, generator=generator, num_frames=8)
    assert motions.frames_BFCHW.shape == (64, 8, 3, 32, 32)
    centres = _centres(motions.frames_BFCHW)
    travelled = centres[:, -1] - centres[:, 0]
    # A shape that is drawn partly outside, or trembles, is seen a little beside its centre.
    assert (travelled / 7 - motions.velocity_BX).abs().median() < 0.1
    speed_B = motions.velocity_BX.norm(dim=1)
    assert (speed_B == 0).any()
    assert speed_B.max() < 2.3
