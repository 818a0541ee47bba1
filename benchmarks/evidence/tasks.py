"""What the methods are compared at: rewards of the tiny world, with prompts seen and unseen.

Seven pairs of colour and shape are trained on and eight are held out; every word of the eight occurs in
the seven, apart from each other. White occurs nowhere in training, though the base models know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from vader_core.spec import Prompt
from vader_core.tiny.world import DIRECTION_NAMES, SHAPES, Scene, caption

Pair = tuple[str, str]

COLOURS = ("red", "green", "blue", "yellow", "purple")
UNSEEN_COLOUR = "white"
TRAINED_PAIRS: tuple[Pair, ...] = (
    ("red", "circle"),
    ("red", "triangle"),
    ("green", "circle"),
    ("green", "square"),
    ("blue", "triangle"),
    ("yellow", "circle"),
    ("purple", "square"),
)
HELDOUT_PAIRS: tuple[Pair, ...] = tuple(
    (colour, shape)
    for colour in COLOURS
    for shape in SHAPES
    if (colour, shape) not in TRAINED_PAIRS
)
# The direction that the action task teaches, as examples/demo.yaml does.
TAUGHT = "right"
REMOVED = "circle"


@dataclass(frozen=True)
class Task:
    """One reward and its prompts.

    `heldout` has words that training saw, in combinations that it did not; `unseen_words` a colour that no
    training prompt names. `black_box` rewards have no gradient. Most tasks go without guidance: a step costs
    half, and the base models leave more to be learnt. Motion is taught with it, since without it shapes are
    so faint that fading away altogether pays better than moving. `queries` is the budget of every method.
    """

    name: str
    title: str
    reward: dict[str, JsonValue]
    training: tuple[Prompt, ...]
    heldout: tuple[Prompt, ...]
    unseen_words: tuple[Prompt, ...]
    black_box: bool = False
    guidance_scale: float = 1.0
    queries: int = 192


def _prompts(scenes: Sequence[Scene], *, heldout: bool, target: str | None) -> tuple[Prompt, ...]:
    return tuple(Prompt(prompt=caption(scene), target=target, heldout=heldout) for scene in scenes)


def _task(
    name: str,
    title: str,
    reward: dict[str, JsonValue],
    scenes: tuple[list[Scene], list[Scene], list[Scene]],
    *,
    target: str | None = None,
    **more: Any,
) -> Task:
    training, heldout, unseen = scenes
    return Task(
        name,
        title,
        reward,
        _prompts(training, heldout=False, target=target),
        _prompts(heldout, heldout=True, target=target),
        _prompts(unseen, heldout=True, target=target),
        **more,
    )


def _taught_scenes() -> tuple[list[Scene], list[Scene], list[Scene]]:
    """All shapes, asked to move in the one direction."""
    unseen = [(UNSEEN_COLOUR, shape) for shape in SHAPES]
    training, heldout, words = (
        [Scene(colour, shape, TAUGHT) for colour, shape in pairs]
        for pairs in (TRAINED_PAIRS, HELDOUT_PAIRS, unseen)
    )
    return training, heldout, words


def _mixed_scenes() -> tuple[list[Scene], list[Scene], list[Scene]]:
    """Two directions for each trained pair, one for each held-out pair, all for the unseen colour."""
    ways = DIRECTION_NAMES
    training = [
        Scene(*pair, ways[(index + turn) % len(ways)])
        for index, pair in enumerate(TRAINED_PAIRS)
        for turn in (0, 2)
    ]
    heldout = [Scene(*pair, ways[index % len(ways)]) for index, pair in enumerate(HELDOUT_PAIRS)]
    return training, heldout, [Scene(UNSEEN_COLOUR, shape, way) for shape in SHAPES for way in ways]


def _removal_scenes() -> tuple[list[Scene], list[Scene], list[Scene]]:
    """Every prompt asks for the shape that is to go; two colours of each direction are held out."""
    training: list[Scene] = []
    heldout: list[Scene] = []
    for turn, way in enumerate(DIRECTION_NAMES):
        for index, colour in enumerate(COLOURS):
            side = heldout if (index + 2 * turn) % len(COLOURS) < 2 else training
            side.append(Scene(colour, REMOVED, way))
    return training, heldout, [Scene(UNSEEN_COLOUR, REMOVED, way) for way in DIRECTION_NAMES]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _task(
            "preference",
            "text match / preference",
            {"reward": "tiny-preference"},
            _mixed_scenes(),
            queries=512,
        ),
        _task(
            "action",
            f"action ({TAUGHT})",
            {"reward": "tiny-action"},
            _taught_scenes(),
            target=f"moving {TAUGHT}",
            guidance_scale=5.0,
        ),
        _task(
            "jpeg",
            "JPEG size (black box)",
            {"reward": "jpeg-size"},
            _mixed_scenes(),
            black_box=True,
        ),
        _task(
            "removal",
            f"object removal ({REMOVED})",
            {"reward": "tiny-object-removal", "params": {"object": REMOVED}},
            _removal_scenes(),
        ),
    )
}
