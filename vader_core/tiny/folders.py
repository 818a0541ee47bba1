"""Writing weight folders: half-precision safetensors, swapped into place file by file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Protocol

from safetensors.torch import load_file, save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from vader_core.tiny import world

WEIGHTS_ROOT = Path(__file__).parent / "weights"


class Saveable(Protocol):
    """Whatever writes itself into a folder: a pipeline, a model, a tokenizer, the judge."""

    def save_pretrained(self, folder: str | Path) -> object: ...


def save(part: Saveable, folder: str | Path) -> None:
    """Writes `part` into `folder`, weights in half precision.

    Everything is written beside the target first, and each file is then renamed over its older
    version, so that a reader never meets a half-written file.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as staging:
        part.save_pretrained(staging)
        for file in sorted(Path(staging).rglob("*")):
            if not file.is_file():
                continue
            if file.suffix == ".safetensors":
                _halve(file)
            place = target / file.relative_to(staging)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.chmod(0o644)  # safetensors are written for their owner alone
            os.replace(file, place)


def _halve(file: Path) -> None:
    # The configs still say float32, so that every loader computes in float32 unless asked otherwise.
    tensors = load_file(file)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    save_file(halves, file, metadata={"format": "pt"})


def clip_processor() -> CLIPImageProcessorPil:
    """Image preprocessing of tiny-clip: values from [0, 1] to [-1, 1]."""
    edge = {"height": world.SIZE, "width": world.SIZE}
    return CLIPImageProcessorPil(
        size={"shortest_edge": world.SIZE},
        crop_size=edge,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def videomae_processor() -> VideoMAEImageProcessorPil:
    """Frame preprocessing of tiny-videomae: values from [0, 1] to [-1, 1]."""
    edge = {"height": world.SIZE, "width": world.SIZE}
    return VideoMAEImageProcessorPil(
        size={"shortest_edge": world.SIZE},
        crop_size=edge,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


class VideoPreprocessing:
    """Frame preprocessing of tiny-vjepa, in V-JEPA 2's own file: mean and deviation of ImageNet.

    Written out, since transformers' class for that file needs torchvision.
    """

    MEAN = (0.485, 0.456, 0.406)
    STD = (0.229, 0.224, 0.225)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes video_preprocessor_config.json."""
        fields = {
            "video_processor_type": "VJEPA2VideoProcessor",
            "do_resize": True,
            "size": {"shortest_edge": world.SIZE},
            "resample": 2,
            "do_center_crop": True,
            "crop_size": {"height": world.SIZE, "width": world.SIZE},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": self.MEAN,
            "image_std": self.STD,
        }
        text = json.dumps(fields, indent=2) + "\n"
        Path(folder, "video_preprocessor_config.json").write_text(text, encoding="utf-8")


def yolos_processor() -> YolosImageProcessorPil:
    """Frame preprocessing of tiny-yolos: the mean and deviation of ImageNet, as the large ones have."""
    return YolosImageProcessorPil(
        size={"shortest_edge": world.SIZE, "longest_edge": 2 * world.SIZE}
    )
