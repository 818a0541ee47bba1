"""A CLIP image head from its published state dict: aesthetic and compression heads.

Sources: sac+logos+ava1-l14-linearMSE.pth of github.com/christophschuhmann/improved-aesthetic-predictor
(the layers are those of its simple_inference.py) and compression_reward.pt of github.com/mihirp1998/VADER
(those of reward_models/image_compression.py of github.com/RewardMultiverse/reward-multiverse; the class
in VADER's own code has one layer more and cannot load the file). Both files number the places of an
`nn.Sequential`, so the places between the linear layers tell what stands there:

    0, 2, 4, 6, 7    dropout, none between the last two: no activation
    0, 3, 6, 9       ReLU and dropout

The result is a CLIP folder with head.json and head.safetensors; the CLIP model's own files are linked
where the file system can, and copied where it cannot.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from vader_core.convert.published import filled, read, refuse, staged
from vader_core.rewards.head import Head, HeadConfig
from vader_core.weights import reading

SOURCES = {
    "head": "sac+logos+ava1-l14-linearMSE.pth or compression_reward.pt",
    "clip": "the folder of openai/clip-vit-large-patch14",
}
_LAYOUTS = {(0, 2, 4, 6, 7): "none", (0, 3, 6, 9): "relu"}
_CLIP_FILES = ["config.json", "model.safetensors", "preprocessor_config.json"]


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the reward folder `out`. Raises `WeightsUnreadable` where a source is not as published."""
    convert_with_output(sources, out, output="none")


def convert_with_output(sources: Mapping[str, Path], out: Path, *, output: str) -> None:
    """The same for a head that has the activation `output` at its end, which the file does not tell."""
    head = fill(read(sources["head"]), path=sources["head"], output=output)
    clip = sources["clip"]
    with reading(clip, needs=_CLIP_FILES, expected=SOURCES["clip"]), staged(out) as folder:
        for name in _CLIP_FILES:
            _link(clip / name, folder / name)
        head.save_pretrained(folder)


def fill(tensors: dict[str, torch.Tensor], *, path: Path, output: str) -> Head:
    """The head of published `tensors`, which were read from `path`.

    Raises one `WeightsUnreadable` for all that is missing, misshapen or not known.
    """
    found = {name: re.fullmatch(r"layers\.(\d+)\.(weight|bias)", name) for name in tensors}
    faults = [f"{name} is not known" for name, match in found.items() if match is None]
    places = tuple(sorted({int(match[1]) for match in found.values() if match}))
    if places not in _LAYOUTS:
        faults.append(f"its layers stand at {places}, not at {' or '.join(map(str, _LAYOUTS))}")
    refuse(path, faults, expected=SOURCES["head"])
    config = HeadConfig(_widths(tensors, places), between=_LAYOUTS[places], output=output)
    with torch.device("meta"):
        head = Head(config)
    own_places = dict(enumerate(places))
    faults = filled(head, tensors, lambda name: _published_name(name, own_places))
    refuse(path, faults, expected=SOURCES["head"])
    return head


def _widths(tensors: dict[str, torch.Tensor], places: tuple[int, ...]) -> list[int]:
    """By the weights where they are there; a missing one is found and named when the head is filled."""
    shapes = [
        tensor.shape
        for place in places
        if (tensor := tensors.get(f"layers.{place}.weight")) is not None and tensor.ndim == 2
    ]
    return [shapes[0][1], *(shape[0] for shape in shapes)] if len(shapes) == len(places) else [1, 1]


def _published_name(name: str, places: Mapping[int, int]) -> str:
    _, index, kind = name.split(".")
    return f"layers.{places[int(index)]}.{kind}"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
