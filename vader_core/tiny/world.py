"""Drawn videos of one moving shape, and the grammar of the prompts that describe them.

Tensor suffixes: B videos, F frames, C colour channels (RGB), H rows, W columns, S shapes, X = 2
coordinates (x, y).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

SIZE = 32
FPS = 8
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.92, 0.16, 0.14),
    "green": (0.16, 0.78, 0.24),
    "blue": (0.18, 0.34, 0.95),
    "yellow": (0.95, 0.86, 0.16),
    "purple": (0.68, 0.24, 0.86),
    "white": (0.94, 0.94, 0.94),
}
SHAPES = ("circle", "square", "triangle")
# Image coordinates: y grows downwards.
DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
COLOUR_NAMES = tuple(COLOURS)
DIRECTION_NAMES = tuple(DIRECTIONS)
ACTION_LABELS = tuple(f"moving {direction}" for direction in DIRECTION_NAMES)

_MARGIN = 5.0  # pixels that a centre keeps from the border, so that the shape stays mostly visible
_RADIUS = (4.5, 7.0)
_SPEED = (1.1, 2.2)  # pixels per frame
_MOTION_SPEED = (0.0, 2.2)  # of motions at any angle
_STRAIGHT = 0.4  # of them, the part that goes along an axis after all
_STILL = 0.1  # and the part that rests
_WOBBLE = (0.3, 0.4)  # the part whose centres tremble, and by how many pixels


class GrammarError(ValueError):
    """A prompt does not follow the grammar of the tiny world."""


@dataclass(frozen=True)
class Scene:
    """What a prompt asks for; `direction` is None where the prompt does not name one."""

    colour: str
    shape: str
    direction: str | None

    @property
    def action(self) -> str | None:
        """The target label of the action reward, e.g. "moving left"."""
        return None if self.direction is None else f"moving {self.direction}"


def caption(scene: Scene) -> str:
    """The prompt of a scene: "a red circle moving left", or "a red circle" without a direction."""
    words = f"a {scene.colour} {scene.shape}"
    return words if scene.direction is None else f"{words} moving {scene.direction}"


def parse(prompt: str) -> Scene:
    """The scene of a prompt; raises GrammarError and says what would be legal."""
    words = prompt.lower().split()
    named = (len(words) == 3 or (len(words) == 5 and words[3] == "moving")) and words[0] == "a"
    direction = words[4] if named and len(words) == 5 else None
    if (
        not named
        or words[1] not in COLOURS
        or words[2] not in SHAPES
        or (direction is not None and direction not in DIRECTIONS)
    ):
        raise GrammarError(
            f"{prompt!r} is not of the form 'a COLOUR SHAPE moving DIRECTION' or 'a COLOUR SHAPE' with "
            f"COLOUR one of {', '.join(COLOURS)}; SHAPE one of {', '.join(SHAPES)}; "
            f"DIRECTION one of {', '.join(DIRECTIONS)}"
        )
    return Scene(words[1], words[2], direction)


def all_scenes() -> list[Scene]:
    """Every scene with a direction, in a fixed order (colour, shape, direction)."""
    triples = itertools.product(COLOURS, SHAPES, DIRECTIONS)
    return [Scene(colour, shape, direction) for colour, shape, direction in triples]


def all_prompts() -> list[str]:
    """Every prompt with a direction, in a fixed order."""
    return [caption(scene) for scene in all_scenes()]


def words() -> list[str]:
    """Every word of the grammar, in a fixed order."""
    return ["a", "moving", *COLOURS, *SHAPES, *DIRECTIONS]


@dataclass(frozen=True)
class Batch:
    """Drawn videos in [0, 1] with their scenes and the indices of colour, shape and direction."""

    frames_BFCHW: torch.Tensor
    scenes: list[Scene]
    colour_B: torch.Tensor
    shape_B: torch.Tensor
    direction_B: torch.Tensor


def draw_batch(
    count: int, *, generator: torch.Generator, num_frames: int = 8, size: int = SIZE
) -> Batch:
    """`count` videos of random scenes; the same generator state gives the same videos."""
    colour_B = torch.randint(len(COLOURS), (count,), generator=generator)
    shape_B = torch.randint(len(SHAPES), (count,), generator=generator)
    direction_B = torch.randint(len(DIRECTIONS), (count,), generator=generator)
    scenes = [
        Scene(COLOUR_NAMES[c], SHAPES[s], DIRECTION_NAMES[d])
        for c, s, d in zip(colour_B.tolist(), shape_B.tolist(), direction_B.tolist(), strict=True)
    ]
    frames_BFCHW = draw(scenes, generator=generator, num_frames=num_frames, size=size)
    return Batch(frames_BFCHW, scenes, colour_B, shape_B, direction_B)


def draw(
    scenes: Sequence[Scene], *, generator: torch.Generator, num_frames: int = 8, size: int = SIZE
) -> torch.Tensor:
    """Videos of the scenes, float32 (B, F, 3, size, size) in [0, 1]; every scene needs a direction.

    Size, start, speed, shade and background are random; all lengths scale with `size`.
    """
    heading_BX = torch.tensor([DIRECTIONS[_direction(scene)] for scene in scenes]).float()
    unit = size / SIZE
    radius_B = _uniform(len(scenes), *_RADIUS, generator) * unit
    centre_BFX = _path(heading_BX, num_frames=num_frames, size=size, generator=generator)
    shape_B = torch.tensor([SHAPES.index(scene.shape) for scene in scenes])
    cover_BFHW = _coverage(centre_BFX, radius_B, shape_B, size=size)
    colour_BC = torch.tensor([COLOURS[scene.colour] for scene in scenes])
    return _paint(cover_BFHW, colour_BC, generator=generator)


@dataclass(frozen=True)
class Motions:
    """Drawn videos in [0, 1] and how their shapes move: (x, y) in pixels per frame, y downwards."""

    frames_BFCHW: torch.Tensor
    velocity_BX: torch.Tensor


def draw_motions(count: int, *, generator: torch.Generator, num_frames: int = 8) -> Motions:
    """`count` videos of random shapes that move at any angle and speed, some of them not at all."""
    colour_B = torch.randint(len(COLOURS), (count,), generator=generator)
    shape_B = torch.randint(len(SHAPES), (count,), generator=generator)
    radius_B = _uniform(count, *_RADIUS, generator)
    velocity_BX = _velocity(count, generator)
    travel_BX = velocity_BX * (num_frames - 1)
    # Start and end lie inside the margin; a way too long for that is centred.
    low_BX = _MARGIN + (-travel_BX).clamp(min=0)
    high_BX = (SIZE - _MARGIN - travel_BX.clamp(min=0)).maximum(low_BX)
    start_BX = low_BX + (high_BX - low_BX) * torch.rand(count, 2, generator=generator)
    centre_BFX = start_BX[:, None] + velocity_BX[:, None] * torch.arange(num_frames)[:, None]
    trembles_B = torch.rand(count, generator=generator) < _WOBBLE[0]
    tremor_BFX = _WOBBLE[1] * torch.randn(centre_BFX.shape, generator=generator)
    centre_BFX = centre_BFX + trembles_B[:, None, None] * tremor_BFX
    cover_BFHW = _coverage(centre_BFX, radius_B, shape_B, size=SIZE)
    colour_BC = torch.tensor(list(COLOURS.values()))[colour_B]
    return Motions(_paint(cover_BFHW, colour_BC, generator=generator), velocity_BX)


def _velocity(count: int, generator: torch.Generator) -> torch.Tensor:
    """Velocities (B, 2) of any angle; some lie on an axis, some are nil."""
    quarter = math.pi / 2
    angle_B = _uniform(count, 0, 4 * quarter, generator)
    straight_B = torch.rand(count, generator=generator) < _STRAIGHT
    angle_B = torch.where(straight_B, (angle_B / quarter).round() * quarter, angle_B)
    moves_B = torch.rand(count, generator=generator) >= _STILL
    speed_B = _uniform(count, *_MOTION_SPEED, generator) * moves_B
    return torch.stack([angle_B.cos(), angle_B.sin()], -1) * speed_B[:, None]


def _paint(
    cover_BFHW: torch.Tensor, colour_BC: torch.Tensor, *, generator: torch.Generator
) -> torch.Tensor:
    """Frames (B, F, C, H, W): shapes in a random shade of their colour on a random ground."""
    count, size = len(cover_BFHW), cover_BFHW.shape[-1]
    shade_B = _uniform(count, 0.9, 1.05, generator)
    colour_BC = (colour_BC * shade_B[:, None]).clamp(0, 1)
    ground_BHW = background(count, size=size, generator=generator)
    cover = cover_BFHW[:, :, None]
    return cover * colour_BC[:, None, :, None, None] + (1 - cover) * ground_BHW[:, None, None]


def _direction(scene: Scene) -> str:
    if scene.direction is None:
        raise GrammarError(f"{caption(scene)!r} names no direction, so it cannot be drawn")
    return scene.direction


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _path(
    heading_BX: torch.Tensor, *, num_frames: int, size: int, generator: torch.Generator
) -> torch.Tensor:
    """Centres (B, F, 2) as (x, y) in pixels; start and end both lie inside the margin."""
    count, unit = len(heading_BX), size / SIZE
    low, span = _MARGIN * unit, size - 2 * _MARGIN * unit
    fastest = span / max(num_frames - 1, 1)
    speed_B = (_uniform(count, *_SPEED, generator) * unit).clamp(max=fastest)
    travel_B = speed_B * (num_frames - 1)
    along_B = low + torch.rand(count, generator=generator) * (span - travel_B)
    across_B = low + torch.rand(count, generator=generator) * span
    time_F = torch.linspace(0, 1, num_frames)
    forward_BF = along_B[:, None] + travel_B[:, None] * time_F
    backward_BF = size - forward_BF
    sign_B = heading_BX.sum(1)
    moving_BF = torch.where(sign_B[:, None] > 0, forward_BF, backward_BF)
    resting_BF = across_B[:, None].expand(-1, num_frames)
    sideways_B1 = heading_BX[:, :1].abs() > 0
    x_BF = torch.where(sideways_B1, moving_BF, resting_BF)
    y_BF = torch.where(sideways_B1, resting_BF, moving_BF)
    return torch.stack([x_BF, y_BF], -1)


def distances(
    centre_BFX: torch.Tensor, radius_B: torch.Tensor, *, size: int = SIZE
) -> torch.Tensor:
    """Signed distances (S, B, F, H, W) in pixels from the edge of every shape, negative inside."""
    pixel = torch.arange(size) + 0.5
    x = pixel[None, None, None, :] - centre_BFX[..., 0, None, None]
    y = pixel[None, None, :, None] - centre_BFX[..., 1, None, None]
    r = radius_B[:, None, None, None]
    circle = (x * x + y * y).sqrt() - r
    square = torch.maximum(x.abs(), y.abs()) - 0.88 * r
    # Upright triangle: two slanted sides (slope 2) and a flat base.
    slanted = (2 * x.abs() - (y + r)) / 5**0.5
    triangle = torch.maximum(slanted, y - r)
    return torch.stack([circle, square, triangle.expand_as(circle)])


def _coverage(
    centre_BFX: torch.Tensor, radius_B: torch.Tensor, shape_B: torch.Tensor, *, size: int
) -> torch.Tensor:
    """How much of each pixel the shape covers, (B, F, H, W) in [0, 1]."""
    distance_SBFHW = distances(centre_BFX, radius_B, size=size)
    return (0.5 - distance_SBFHW[shape_B, torch.arange(len(shape_B))]).clamp(0, 1)


def background(count: int, *, size: int, generator: torch.Generator) -> torch.Tensor:
    """Dark grounds (B, H, W): a grey level with a faint linear slope."""
    level = _uniform(count, 0.04, 0.14, generator)[:, None, None]
    slope_x = _uniform(count, -0.04, 0.04, generator)[:, None, None]
    slope_y = _uniform(count, -0.04, 0.04, generator)[:, None, None]
    ramp = torch.linspace(-1, 1, size)
    ground = level + slope_x * ramp[None, None, :] + slope_y * ramp[None, :, None]
    return ground.clamp(0, 1)
