"""The first images of image-to-video prompts: read, and fitted to the video's size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from vader_core.errors import SpecUnusable
from vader_core.families.family import required_size
from vader_core.spec import Video


def read_first_image(path: Path, video: Video) -> Image.Image:
    """The image at `path` as RGB: scaled until it covers the video's size, then cropped about its centre.

    Raises `SpecUnusable` where there is no readable image.
    """
    _, height, width = required_size(video)
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    # Pillow raises more than OSError over broken files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SpecUnusable(
            f"The first image {path.name} cannot be read: {error}",
            hint="Name a PNG, JPEG or WebP file of the image folder.",
        ) from error
    return ImageOps.fit(upright, (width, height), method=Image.Resampling.LANCZOS)
