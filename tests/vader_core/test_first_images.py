from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vader_core.errors import SpecUnusable
from vader_core.first_images import read_first_image
from vader_core.spec import Video

VIDEO = Video(width=32, height=16, num_frames=5)


def test_an_image_is_scaled_until_it_covers_the_video_and_cropped_about_its_centre(
    tmp_path: Path,
) -> None:
    image = Image.new("RGB", (30, 90), "black")
    image.paste("white", (0, 40, 30, 50))
    image.save(tmp_path / "tall.png")
    found = read_first_image(tmp_path / "tall.png", VIDEO)
    assert (found.size, found.mode) == ((32, 16), "RGB")
    rows = [found.crop((16, row, 17, row + 1)).tobytes() for row in range(16)]
    assert min(rows[8]) > 240
    assert max(rows[0] + rows[15]) < 15


def test_transparency_and_orientation_are_settled(tmp_path: Path) -> None:
    image = Image.new("RGBA", (32, 16), (255, 0, 0, 0))
    image.save(tmp_path / "clear.png")
    assert read_first_image(tmp_path / "clear.png", VIDEO).mode == "RGB"
    turned = Image.new("RGB", (16, 32), "blue")
    exif = turned.getexif()
    exif[0x0112] = 6  # taken with the camera on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_first_image(tmp_path / "turned.jpg", VIDEO).size == (32, 16)


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_image_is_the_specs_fault(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "first.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecUnusable, match=r"first\.png cannot be read") as caught:
        read_first_image(path, VIDEO)
    assert "PNG" in caught.value.hint


def test_a_resolved_size_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not resolved"):
        read_first_image(tmp_path / "first.png", Video(width=32))
