"""The command `score`, called in this process: scores, reasons, and errors, in one file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.rewards import black_box
from tests.vader_core.small_videos import BLUE, RED, frames_of, write
from vader_core import rewards
from vader_core.__main__ import main
from vader_core.catalogue import BUILT_IN
from vader_core.devices import Compute
from vader_core.failure import Failure
from vader_core.scoring import ScoreOutput, ScoreResult
from vader_core.spec import Prompt, RewardTerm

REDS, BLUES = "a red square", "a blue square"


@pytest.fixture
def videos(tmp_path: Path) -> list[dict[str, Any]]:
    """A red and a blue square."""
    write(tmp_path / "red.mp4", frames_of(RED, frames=6))
    write(tmp_path / "blue.mp4", frames_of(BLUE, frames=6))
    return [{"file": "red.mp4", "prompt": REDS}, {"file": "blue.mp4", "prompt": BLUES}]


def run(folder: Path, document: object, *options: str) -> tuple[int, ScoreOutput]:
    request, out = folder / "request.json", folder / "out.json"
    request.write_text(json.dumps(document))
    words = ["score", str(request), "--out", str(out), "--device", "cpu", *options]
    status = main(words)
    return status, ScoreOutput.model_validate_json(out.read_bytes())


def result(folder: Path, document: object) -> ScoreResult:
    status, output = run(folder, document)
    assert (status, output.error) == (0, None)
    assert output.result is not None
    return output.result


def failure(folder: Path, document: object, *options: str) -> tuple[int, Failure]:
    status, output = run(folder, document, *options)
    assert output.error is not None
    assert output.result is None
    return status, output.error


def library_scores(name: str, videos: list[torch.Tensor], prompts: list[Prompt]) -> list[float]:
    """What the library gives for the frames themselves."""
    compute = Compute(torch.device("cpu"), torch.float32)
    reward = rewards.load(RewardTerm(reward=name), BUILT_IN.rewards[name], compute)
    with torch.no_grad():
        scores: list[float] = reward.score(torch.stack(videos), prompts).tolist()
    return scores


def test_a_reward_of_frames_gives_the_librarys_scores_within_the_codecs_error(
    tmp_path: Path, videos: list[dict[str, Any]]
) -> None:
    found = result(tmp_path, {"reward": "tiny-text-match", "videos": videos})
    drawn = [frames_of(RED, frames=6), frames_of(BLUE, frames=6)]
    wanted = library_scores("tiny-text-match", drawn, [Prompt(prompt=REDS), Prompt(prompt=BLUES)])
    assert [one.score for one in found.scores] == pytest.approx(wanted, abs=0.02)
    assert (found.reward, found.device) == ("tiny-text-match@1", "cpu")
    assert found.seconds > 0
    assert all(one.reason is None for one in found.scores)


def test_the_order_of_videos_changes_no_score(tmp_path: Path, videos: list[dict[str, Any]]) -> None:
    there, back = (
        result(tmp_path, {"reward": "tiny-text-match", "videos": some}).scores
        for some in (videos, videos[::-1])
    )
    assert [one.score for one in there] == [one.score for one in back[::-1]]


def test_a_reward_of_videos_sees_all_frames_together(
    tmp_path: Path, videos: list[dict[str, Any]]
) -> None:
    videos = [{**video, "target": "moving right"} for video in videos]
    found = result(tmp_path, {"reward": "tiny-action", "videos": videos})
    prompts = [Prompt(prompt=REDS, target="moving right")] * 2
    drawn = [frames_of(RED, frames=6), frames_of(BLUE, frames=6)]
    wanted = library_scores("tiny-action", drawn, prompts)
    assert [one.score for one in found.scores] == pytest.approx(wanted, abs=0.05)


def test_a_reward_of_groups_compares_the_videos_of_one_prompt(tmp_path: Path) -> None:
    names = ("one.mp4", "two.mp4", "three.mp4", "four.mp4")
    for name, colour in zip(names, (RED, BLUE, RED, RED), strict=True):
        write(tmp_path / name, frames_of(colour))
    prompts = ("a", "a", "b", "b")
    asked = [{"file": n, "prompt": p} for n, p in zip(names, prompts, strict=True)]
    scores = [
        one.score for one in result(tmp_path, {"reward": "diversity", "videos": asked}).scores
    ]
    wanted = (frames_of(RED) - frames_of(BLUE)).abs().mean().item()
    assert scores[:2] == pytest.approx([wanted] * 2, abs=0.01)
    assert scores[2:] == [0.0, 0.0]


def test_a_video_that_cannot_be_read_has_a_reason_and_the_others_their_scores(
    tmp_path: Path, videos: list[dict[str, Any]]
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    asked = [{"file": "bad.mp4", "prompt": "x"}, {"file": "none.mp4", "prompt": "x"}, videos[0]]
    bad, absent, good = result(tmp_path, {"reward": "tiny-text-match", "videos": asked}).scores
    assert (bad.score, absent.score) == (None, None)
    assert bad.reason is not None
    assert absent.reason is not None
    assert (bad.reason.code, absent.reason.code) == ("unreadable", "unreadable")
    assert good.score is not None


@pytest.mark.parametrize(
    ("second", "code"), [(b"no video", "too_few_videos"), (None, "sizes_differ")]
)
def test_what_cannot_be_compared_has_reasons(
    tmp_path: Path, second: bytes | None, code: str
) -> None:
    write(tmp_path / "a.mp4", frames_of(RED))
    write(tmp_path / "b.mp4", frames_of(RED, frames=5))
    if second is not None:
        (tmp_path / "b.mp4").write_bytes(second)
    asked = [{"file": name, "prompt": "x"} for name in ("a.mp4", "b.mp4")]
    first, _ = result(tmp_path, {"reward": "diversity", "videos": asked}).scores
    assert first.score is None
    assert first.reason is not None
    assert first.reason.code == code


def test_one_frame_has_no_movement(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", frames_of(RED, frames=1))
    found = result(
        tmp_path, {"reward": "motion", "videos": [{"file": "a.mp4", "prompt": "x"}]}
    ).scores
    assert found[0].reason is not None
    assert found[0].reason.code == "too_few_frames"


def test_all_faults_of_a_request_are_told_before_torch_is_needed(tmp_path: Path) -> None:
    asked = [{"file": "a.mp4", "prompt": "x", "target": "moving lft"}, {"file": "b", "prompt": "y"}]
    document = {"reward": "tiny-action", "params": {"speed": 1}, "videos": asked}
    status, error = failure(tmp_path, document)
    assert (status, error.code, error.fault) == (2, "spec_unusable", "user")
    for pointer in ("/params/speed", "/videos/0/target", "/videos/1/target"):
        assert f"{pointer}: " in error.message


@pytest.mark.parametrize(
    "document",
    [{"reward": "no-such", "videos": [{"file": "a", "prompt": "x"}]}, {"reward": "motion"}, []],
)
def test_a_request_that_cannot_be_is_refused(tmp_path: Path, document: object) -> None:
    assert failure(tmp_path, document)[0] == 2


def test_weights_that_are_missing_or_broken_are_told(tmp_path: Path) -> None:
    row = json.loads(BUILT_IN.rewards["tiny-text-match"].model_dump_json(exclude={"folder"}))
    broken = tmp_path / "broken"
    broken.mkdir()
    rows = [
        {**row, "id": name, "weights": {"folder": str(folder)}}
        for name, folder in (("absent", tmp_path / "nowhere"), ("broken", broken))
    ]
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_text(json.dumps({"rewards": rows}))
    for name in ("absent", "broken"):
        document = {"reward": name, "videos": [{"file": "a.mp4", "prompt": "x"}]}
        status, error = failure(tmp_path, document, "--catalogue", str(catalogue))
        assert (status, error.code) == (10, "weights_unreadable"), name


class _Endpoint(BaseHTTPRequestHandler):
    """An operator's endpoint, which gives every video the same score."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.rfile.read(length)
        answer = b'{"scores": [0.75]}' if self.path == "/good" else b'{"scores": "none"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_black_box_reward_can_be_tried_and_says_when_its_backend_fails(
    tmp_path: Path, videos: list[dict[str, Any]], endpoint: str
) -> None:
    rows = [
        black_box.row("http", id=name, options={"url": f"{endpoint}/{name}"})
        for name in ("good", "bad")
    ]
    catalogue = tmp_path / "catalogue.json"
    own = [json.loads(row.model_dump_json(exclude={"folder"})) for row in rows]
    catalogue.write_text(json.dumps({"rewards": own}))
    options = ("--catalogue", str(catalogue))
    status, output = run(tmp_path, {"reward": "good", "videos": videos[:1]}, *options)
    assert status == 0
    assert output.result is not None
    assert [one.score for one in output.result.scores] == [0.75]
    status, error = failure(tmp_path, {"reward": "bad", "videos": videos[:1]}, *options)
    assert (status, error.code, error.retryable) == (17, "reward_backend_failed", True)
