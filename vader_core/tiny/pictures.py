"""Drawn videos whose every attribute is known: boxes, shapes between shapes, faint shapes, haze.

The prompts' videos (world.py) show one whole shape on a dark ground. Rewards must also say something
sensible about what lies between and beyond: a shape that is half a circle and half a square, one that
fades away, one that is larger than any that was asked for, a pale ground.

Tensor suffixes as in world.py, and: O objects of a video (2, the second often absent).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vader_core.tiny import corpus, sampling, world
from vader_core.tiny.folders import WEIGHTS_ROOT

FRAMES = 9
OBJECTS = 2
_RADIUS = (3.0, 9.0)
_PAIR_RADIUS = (3.5, 5.5)  # of shapes that share a picture
_SPEED = 1.6  # pixels per frame and axis at most
# The parts of the videos that show nothing, or two shapes; of the shapes, the faint and the mixed ones.
_NOTHING, _PAIR, _FAINT, _MIXED = 0.1, 0.25, 0.3, 0.3
_HAZY = 0.4
_HAZE = (0.45, 0.7)  # the densest haze's part in the picture, and its grey


@dataclass(frozen=True)
class Pictures:
    """Videos in [0, 1] with what they show.

    `box_BFOX` is (centre x, centre y, width, height) as parts of the frame. `kind_BOS` says how much of
    an object belongs to each shape, `opacity_BO` how clearly it is there: 0 where it is absent.
    `haze_B` in [0, 1] is how dense the haze is.
    """

    frames_BFCHW: torch.Tensor
    box_BFOX: torch.Tensor
    kind_BOS: torch.Tensor
    opacity_BO: torch.Tensor
    luma_BO: torch.Tensor
    haze_B: torch.Tensor

    def taken(self, picked: torch.Tensor) -> Pictures:
        """The videos with these indices."""
        return Pictures(*(getattr(self, name)[picked] for name in _FIELDS))


_FIELDS = tuple(Pictures.__dataclass_fields__)


def join(parts: list[Pictures]) -> Pictures:
    """All videos of `parts`."""
    return Pictures(*(torch.cat([getattr(part, name) for part in parts]) for name in _FIELDS))


def draw(
    count: int, *, generator: torch.Generator, plain: bool = False, haze: bool = False
) -> Pictures:
    """`count` videos of moving shapes; `plain` ones show a single whole shape, as prompts ask for.

    With `haze` some are seen through it.
    """
    opacity_BO, kind_BOS = _objects(count, generator=generator, plain=plain)
    pair_B1 = opacity_BO[:, 1:] > 0
    narrow_BO, wide_BO = (
        _uniform((count, OBJECTS), *span, generator) for span in (_PAIR_RADIUS, _RADIUS)
    )
    radius_BO = torch.where(pair_B1, narrow_BO, wide_BO)
    centre_BFOX = _paths(count, generator=generator)
    luma_BO, frames_BFCHW = _paint(centre_BFOX, radius_BO, kind_BOS, opacity_BO, generator)
    density_B = torch.rand(count, generator=generator)
    haze_B = density_B * _some(count, _HAZY * haze, generator)
    frames_BFCHW = _hazy(frames_BFCHW, haze_B)
    box_BFOX = _boxes(centre_BFOX, radius_BO, kind_BOS)
    return Pictures(frames_BFCHW, box_BFOX, kind_BOS, opacity_BO, luma_BO, haze_B)


def draw_decoded(count: int, *, generator: torch.Generator, chunk: int = 16) -> Pictures:
    """`count` plain videos, half of them as tiny-unet's decoder shows them, half as tiny-wan's.

    Only plain ones: what lies far from the decoders' training videos comes out as something else.
    """
    parts = []
    for name in ("tiny-unet", "tiny-wan"):
        autoencoder = sampling.load(WEIGHTS_ROOT / name).vae
        drawn = draw(count // 2, generator=generator, plain=True)
        chunks = [
            corpus.rebuild(autoencoder, part) for part in torch.split(drawn.frames_BFCHW, chunk)
        ]
        parts.append(Pictures(torch.cat(chunks), *(getattr(drawn, name) for name in _FIELDS[1:])))
    return join(parts)


def mix(
    decoded: Pictures, *, count: int, generator: torch.Generator, haze: bool = False
) -> Pictures:
    """`count` new videos and half as many of `decoded`."""
    picked = torch.randint(len(decoded.haze_B), (count // 2,), generator=generator)
    return join([draw(count, generator=generator, haze=haze), decoded.taken(picked)])


def _objects(
    count: int, *, generator: torch.Generator, plain: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Opacities (B, O) and shapes (B, O, S)."""
    number = torch.rand(count, generator=generator)
    second_B = (number < _PAIR) & (not plain)
    first_B = (number < 1 - _NOTHING) | plain
    there_BO = torch.stack([first_B, second_B], 1).float()
    shape = (count, OBJECTS)
    faint_BO = _some(shape, _FAINT * (not plain), generator)
    opacity_BO = there_BO * (1 - faint_BO * torch.rand(shape, generator=generator))
    one_BOS, other_BOS = (
        torch.nn.functional.one_hot(
            torch.randint(len(world.SHAPES), shape, generator=generator), len(world.SHAPES)
        ).float()
        for _ in range(2)
    )
    mixed_BO = _some(shape, _MIXED * (not plain), generator)
    part_BO = mixed_BO * torch.rand(shape, generator=generator)
    return opacity_BO, one_BOS.lerp(other_BOS, part_BO[..., None])


def _paths(count: int, *, generator: torch.Generator) -> torch.Tensor:
    """Centres (B, F, O, X) in pixels; the second object keeps to the other side of the picture."""
    middle_BX = _uniform((count, 2), 6.0, world.SIZE - 6.0, generator)
    # A second object lies half a picture away, as on a torus, and inside the border.
    other_BX = ((middle_BX + world.SIZE / 2) % world.SIZE).clamp(5, world.SIZE - 5)
    velocity_BOX = _uniform((count, OBJECTS, 2), -_SPEED, _SPEED, generator)
    time_F = torch.arange(FRAMES) - (FRAMES - 1) / 2
    middle_BOX = torch.stack([middle_BX, other_BX], 1)
    path_BFOX = middle_BOX[:, None] + velocity_BOX[:, None] * time_F[:, None, None]
    return path_BFOX.clamp(3, world.SIZE - 3)


def _paint(
    centre_BFOX: torch.Tensor,
    radius_BO: torch.Tensor,
    kind_BOS: torch.Tensor,
    opacity_BO: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The objects' brightness (B, O), and frames that show them on dark grounds."""
    count = len(centre_BFOX)
    colours = torch.tensor(list(world.COLOURS.values()))
    picked_BO = torch.randint(len(colours), (count, OBJECTS), generator=generator)
    shade = _uniform((count, OBJECTS, 1), 0.7, 1.1, generator)
    colour_BOC = (colours[picked_BO] * shade).clamp(0, 1)
    ground_BHW = world.background(count, size=world.SIZE, generator=generator)
    frames_BFCHW = ground_BHW[:, None, None].expand(-1, FRAMES, 3, -1, -1)
    for index in range(OBJECTS):
        distance_SBFHW = world.distances(centre_BFOX[:, :, index], radius_BO[:, index])
        distance_BFHW = torch.einsum("sbfhw,bs->bfhw", distance_SBFHW, kind_BOS[:, index])
        cover_BFHW = (0.5 - distance_BFHW).clamp(0, 1) * opacity_BO[:, index, None, None, None]
        colour = colour_BOC[:, None, index, :, None, None].expand_as(frames_BFCHW)
        frames_BFCHW = frames_BFCHW.lerp(colour, cover_BFHW[:, :, None])
    return (colour_BOC * torch.tensor([0.3, 0.59, 0.11])).sum(-1), frames_BFCHW


def _boxes(
    centre_BFOX: torch.Tensor, radius_BO: torch.Tensor, kind_BOS: torch.Tensor
) -> torch.Tensor:
    """Boxes (B, F, O, 4) as centre and size, parts of the frame, cut off at its border."""
    # Half widths of the shapes as parts of the radius; a triangle's base is as wide as its height.
    half_BO = kind_BOS @ torch.tensor([1.0, 0.88, 1.0]) * radius_BO
    low_BFOX = (centre_BFOX - half_BO[:, None, :, None]).clamp(0, world.SIZE)
    high_BFOX = (centre_BFOX + half_BO[:, None, :, None]).clamp(0, world.SIZE)
    boxes = torch.cat([(low_BFOX + high_BFOX) / 2, high_BFOX - low_BFOX], -1)
    return boxes / world.SIZE


def _hazy(frames_BFCHW: torch.Tensor, haze_B: torch.Tensor) -> torch.Tensor:
    """Frames seen through haze: darkness becomes grey, and contrasts fade."""
    densest, grey = _HAZE
    part = densest * haze_B.view(-1, 1, 1, 1, 1)
    return frames_BFCHW * (1 - part) + grey * part


def _some(shape: int | tuple[int, ...], part: float, generator: torch.Generator) -> torch.Tensor:
    """Ones at random places, `part` of them, and zeros elsewhere."""
    return (torch.rand(shape, generator=generator) < part).float()


def _uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
