from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from vader_core.rewards.preprocessing import Preprocessing

SIZES = [(32, 32), (48, 64), (70, 33), (20, 24), (100, 37), (30, 90)]
EDGES = {"height": 32, "width": 32}
SHARED = {"crop_size": EDGES, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7]}


def images(height: int, width: int) -> np.ndarray[Any, Any]:
    """Four 8-bit images of noise, the hardest case for a resampling filter."""
    return np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)


def preprocessed(processor: Any, folder: Path, frames: np.ndarray[Any, Any]) -> torch.Tensor:
    processor.save_pretrained(folder)
    floats = torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    return Preprocessing.read(folder)(floats)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_videomaes_processor_but_for_rounding(
    height: int, width: int, tmp_path: Path
) -> None:
    processor = VideoMAEImageProcessorPil(size={"shortest_edge": 32}, **SHARED)
    frames = images(height, width)
    expected = processor(list(frames), return_tensors="pt")["pixel_values"][0]
    # Pillow rounds after each axis; one 8-bit level is 1 / (255 * 0.5) after normalising.
    assert (preprocessed(processor, tmp_path, frames) - expected).abs().max() < 2.1 / 255 / 0.5


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [{"shortest_edge": 32}, {"height": 32, "width": 40}])
def test_equals_clips_bicubic_processor_but_for_rounding(
    height: int, width: int, size: dict[str, int], tmp_path: Path
) -> None:
    processor = CLIPImageProcessorPil(size=size, resample=3, **SHARED)
    frames = images(height, width)
    expected = processor(list(frames), return_tensors="pt")["pixel_values"]
    assert (preprocessed(processor, tmp_path, frames) - expected).abs().max() < 2.1 / 255 / 0.5


def test_frames_of_the_models_own_size_are_only_normalised(tmp_path: Path) -> None:
    processor = VideoMAEImageProcessorPil(size={"shortest_edge": 32}, **SHARED)
    frames = images(32, 32)
    expected = processor(list(frames), return_tensors="pt")["pixel_values"][0]
    assert (preprocessed(processor, tmp_path, frames) - expected).abs().max() < 1e-6


def test_gradient_passes_to_every_pixel(tmp_path: Path) -> None:
    VideoMAEImageProcessorPil(size={"shortest_edge": 32}, **SHARED).save_pretrained(tmp_path)
    frames = torch.full((1, 3, 50, 50), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(Preprocessing.read(tmp_path)(frames).sum(), frames)
    assert (gradient > 0).all()


def test_unknown_filter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"resample": 1}))
    with pytest.raises(ValueError, match="bilinear"):
        Preprocessing.read(tmp_path)


def write_config(folder: Path, **fields: object) -> None:
    norm = {"image_mean": SHARED["image_mean"], "image_std": SHARED["image_std"], "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps({**norm, **fields}))


def normalised(images: list[Image.Image]) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).double() / 255
    mean, std = (torch.tensor(SHARED[key]).double() for key in ("image_mean", "image_std"))
    return ((pixels - mean) / std).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_padding_fits_the_longer_edge_and_adds_black(
    height: int, width: int, tmp_path: Path
) -> None:
    write_config(tmp_path, size={"longest_edge": 32}, do_pad=True)
    frames = images(height, width)
    scale = 32 / max(height, width)
    new_height, new_width = round(height * scale), round(width * scale)
    top, left = (32 - new_height) // 2, (32 - new_width) // 2
    border = (left, top, 32 - new_width - left, 32 - new_height - top)
    small = [
        Image.fromarray(frame).resize((new_width, new_height), Image.Resampling.BICUBIC)
        for frame in frames
    ]
    expected = normalised([ImageOps.expand(image, border) for image in small])
    found = Preprocessing.read(tmp_path)(
        torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    )
    assert (found - expected).abs().max() < 2.1 / 255 / 0.5


@pytest.mark.parametrize(
    "fields",
    [
        {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": EDGES},
        {"size": {"shortest_edge": 32}},
        {"size": {"longest_edge": 32}, "do_pad": True},
        {"size": EDGES},
    ],
)
@pytest.mark.parametrize(("height", "width"), [(48, 64), (70, 33), (20, 24)])
def test_stretching_keeps_the_whole_image(
    height: int, width: int, fields: dict[str, object], tmp_path: Path
) -> None:
    write_config(tmp_path, **fields)
    frames = images(height, width)
    expected = normalised(
        [Image.fromarray(frame).resize((32, 32), Image.Resampling.BICUBIC) for frame in frames]
    )
    floats = torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    found = Preprocessing.read(tmp_path).stretched()(floats)
    assert (found - expected).abs().max() < 2.1 / 255 / 0.5


def test_nothing_to_stretch_to_is_refused(tmp_path: Path) -> None:
    write_config(tmp_path, do_resize=False)
    with pytest.raises(ValueError, match="nothing to stretch to"):
        Preprocessing.read(tmp_path).stretched()
