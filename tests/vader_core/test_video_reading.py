"""Reading video files that strangers made."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.vader_core.small_videos import RED, SIZE, frames_of, write
from vader_core import video_reading
from vader_core.video_reading import VideoUnusable, read_video


def test_what_was_written_is_read_within_the_codecs_error(tmp_path: Path) -> None:
    frames_FCHW = frames_of(RED)
    read_FHWC = read_video(write(tmp_path / "a.mp4", frames_FCHW))
    assert read_FHWC.shape == (4, SIZE, SIZE, 3)
    drawn_FHWC = frames_FCHW.permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(read_FHWC - drawn_FHWC).mean() < 2.5


def test_webm_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for grey in (40, 80, 120):
            picture = np.full((16, 32, 3), grey, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert np.abs(read_video(path).mean((1, 2, 3)) - [40, 80, 120]).max() < 3


@pytest.mark.parametrize("data", [b"", b"no video", b"\x00\x00\x00\x20ftypisom" + bytes(100)])
def test_what_is_no_video_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(VideoUnusable) as caught:
        read_video(path)
    assert caught.value.code == "unreadable"


def test_a_cut_video_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames_of(RED))
    # The index comes first; what it points at is gone.
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(VideoUnusable):
        read_video(path)


def test_a_file_may_not_make_the_reader_open_others(tmp_path: Path) -> None:
    other = write(tmp_path / "other.mp4", frames_of(RED))
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {other.name}\n")
    with pytest.raises(VideoUnusable):
        read_video(path)


@pytest.mark.parametrize(
    ("limit", "value"),
    [("MAX_FRAMES", 3), ("MAX_FRAME_PIXELS", SIZE**2 - 1), ("MAX_PIXELS", 3 * SIZE**2)],
)
def test_a_video_beyond_a_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    path = write(tmp_path / "a.mp4", frames_of(RED))
    monkeypatch.setattr(video_reading, limit, value)
    with pytest.raises(VideoUnusable) as caught:
        read_video(path)
    assert caught.value.code == "too_large"
    assert f"{SIZE} x {SIZE}" in caught.value.message
