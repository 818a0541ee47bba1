from __future__ import annotations

import io
import json
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

import av
import numpy as np

from tests.vader_core.rewards.black_box import videos
from vader_core.rewards.http_request import Body, Format, written
from vader_core.video_files import as_bytes


def read(body: Body) -> list[EmailMessage]:
    """The parts, by a parser that is not ours."""
    head = f"Content-Type: {body.media_type}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body.content)
    return [part for part in message.iter_parts() if isinstance(part, EmailMessage)]


def content(part: EmailMessage) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def request(form: Format) -> list[EmailMessage]:
    return read(written({"reward": "ours@1", "word": "grün"}, videos(), form=form, fps=5))


def test_npz_holds_the_very_8_bit_pixels() -> None:
    told, frames = request("npz")
    assert told.get_param("name", header="content-disposition") == "request"
    assert json.loads(content(told)) == {"reward": "ours@1", "word": "grün"}
    assert frames.get_filename() == "frames.npz"
    sent = np.load(io.BytesIO(content(frames)))["frames"]
    assert (sent.shape, sent.dtype) == ((2, 3, 16, 24, 3), np.uint8)
    assert np.array_equal(sent[1], as_bytes(videos()[1]))


def test_mp4_is_one_playable_file_per_video_in_order(tmp_path: Path) -> None:
    _, *files = request("mp4")
    assert [file.get_filename() for file in files] == ["video-0.mp4", "video-1.mp4"]
    for file in files:
        assert file.get_content_type() == "video/mp4"
        path = tmp_path / "video.mp4"
        path.write_bytes(content(file))
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == 5
            assert len(list(container.decode(stream))) == 3
