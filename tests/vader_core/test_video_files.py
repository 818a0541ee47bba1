from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from vader_core.video_files import write_mp4, write_strip


def a_moving_square(frames: int, height: int, width: int) -> torch.Tensor:
    frames_FCHW = torch.full((frames, 3, height, width), 0.1)
    for number in range(frames):
        frames_FCHW[number, 0, 2:8, 2 + number : 8 + number] = 0.9
    return frames_FCHW


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(32, 32, (128, 128)), (16, 40, (128, 320)), (129, 201, (130, 202))],
)
def test_an_mp4_is_h264_yuv420p_of_even_size_and_begins_with_its_index(
    tmp_path: Path, height: int, width: int, shown: tuple[int, int]
) -> None:
    write_mp4(tmp_path / "video.mp4", a_moving_square(8, height, width), fps=12)
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 12
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(pictures) == 8
    assert pictures[0].shape[:2] == shown
    data = (tmp_path / "video.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_what_is_seen_is_what_was_given(tmp_path: Path) -> None:
    frames_FCHW = a_moving_square(8, 32, 32)
    write_mp4(tmp_path / "video.mp4", frames_FCHW, fps=8)
    with av.open(str(tmp_path / "video.mp4")) as container:
        last = list(container.decode(video=0))[-1].to_ndarray(format="rgb24")
    small = last.reshape(32, 4, 32, 4, 3).mean((1, 3))
    wanted = frames_FCHW[-1].permute(1, 2, 0).numpy() * 255
    # yuv420p blurs colour over two pixels; the mean difference stays small.
    assert np.abs(small - wanted).mean() < 6


def test_the_same_video_gives_the_same_file(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", a_moving_square(8, 32, 32), fps=8)
    write_mp4(tmp_path / "b.mp4", a_moving_square(8, 32, 32), fps=8)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_strip_shows_first_and_last_frame(tmp_path: Path) -> None:
    write_strip(tmp_path / "strip.png", a_moving_square(20, 32, 32), pictures=5)
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    assert strip.shape == (128, 5 * (128 + 4), 3)
    # The square is at column 2 in the first frame and at column 21 in the last.
    assert strip[4 * 4, 4 * 4, 0] == 230
    assert strip[4 * 4, 4 * 132 + 4 * 24, 0] == 230
