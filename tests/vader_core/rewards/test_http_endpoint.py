from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.rewards import checks
from tests.vader_core.rewards.black_box import PROMPTS, row, videos
from tests.vader_core.rewards.test_http_request import content, read
from vader_core.errors import CatalogueUnusable, RewardBackendFailed
from vader_core.rewards import http_endpoint
from vader_core.rewards.http_endpoint import HttpReward
from vader_core.rewards.http_request import Body


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's next planned answer; afterwards with a score per video."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(Body(body, self.headers["Content-Type"]))
        self.server.headers.append(dict(self.headers))
        planned = self.server.planned
        status, answer, headers = planned.pop(0) if planned else (200, self.server.answer, {})
        if status == 0:
            self.connection.close()
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        for part in (answer[:3], answer[3:]):
            self.wfile.write(part)
            self.wfile.flush()
            time.sleep(self.server.pause_s)

    def log_message(self, format: str, *args: object) -> None:
        """The default writes to stderr."""


class Server(ThreadingHTTPServer):
    """A team's endpoint on a free port of this machine."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.planned: list[tuple[int, bytes, dict[str, str]]] = []
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.answer = b'{"scores": [0.25, -3.5]}'
        self.pause_s = 0.0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is no error here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/score"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_endpoint, "PAUSES_S", (0.0, 0.0))
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def reward(server: Server, **options: Any) -> HttpReward:
    described = row("http", options={"url": server.url, "timeout_s": 5, **options})
    return HttpReward(described, {"style": "noir"}, checks.compute())


def test_scores_come_from_the_endpoint_which_is_told_all_it_needs(server: Server) -> None:
    score = reward(server).score(videos(), PROMPTS)
    assert torch.equal(score, torch.tensor([0.25, -3.5], dtype=torch.float64))
    told, _ = read(server.bodies[0])
    assert json.loads(content(told)) == {
        "reward": "ours@1",
        "params": {"style": "noir"},
        "videos": [
            {"prompt": "a red circle", "target": "left"},
            {"prompt": "ein grünes Blatt", "target": None},
        ],
    }
    assert "Authorization" not in server.headers[0]


def test_token_comes_from_a_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    reward(server, token_file=str(file)).score(videos(), PROMPTS)
    assert server.headers[0]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("status", [429, 502, 503, 504, 0])
def test_what_was_not_worked_on_is_sent_again(server: Server, status: int) -> None:
    server.planned = [(status, b"busy", {"Retry-After": "0"})] * 2
    assert reward(server).score(videos(), PROMPTS).tolist() == [0.25, -3.5]
    assert len(server.bodies) == 3
    assert server.bodies[0] == server.bodies[2]


def test_an_endpoint_that_stays_busy_is_given_up_after_three_tries(server: Server) -> None:
    server.planned = [(503, b"busy", {})] * 9
    with pytest.raises(
        RewardBackendFailed, match=r"'ours' answered 503 .*'busy', 3 times"
    ) as caught:
        reward(server).score(videos(), PROMPTS)
    assert caught.value.retryable
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [301, 307, 400, 403, 500])
def test_other_statuses_are_final(server: Server, status: int) -> None:
    server.planned = [(status, b"no", {"Location": "/elsewhere"})]
    with pytest.raises(RewardBackendFailed, match=rf"answered {status} .*'no'"):
        reward(server).score(videos(), PROMPTS)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"0.5", "where .*scores.* was expected"),
        (b'{"scores": [0.5, NaN]}', "was expected"),
        (b'{"scores": [0.5, null]}', "was expected"),
        (b'{"scores": [0.5]}', "gave 1 scores for 2 videos"),
        (b" " * (1 << 20) + b"0", "more than 1048576 bytes"),
    ],
)
def test_nonsense_is_told_apart_from_scores(server: Server, answer: bytes, message: str) -> None:
    server.answer = answer
    with pytest.raises(RewardBackendFailed, match=message):
        reward(server).score(videos(), PROMPTS)


def test_a_slow_answer_is_not_waited_for_nor_asked_for_again(server: Server) -> None:
    server.pause_s = 0.2
    with pytest.raises(RewardBackendFailed, match=r"no whole answer in 0\.1 s"):
        reward(server, timeout_s=0.1).score(videos(), PROMPTS)
    assert len(server.bodies) == 1


def test_large_requests_are_not_sent(server: Server) -> None:
    with pytest.raises(RewardBackendFailed, match=r"in one request; its row allows 0\.001"):
        reward(server, max_request_megabytes=0.001).score(videos(), PROMPTS)
    assert not server.bodies


def test_nobody_listening_is_a_typed_error(server: Server) -> None:
    nowhere = reward(server, url="http://127.0.0.1:1/score")
    with pytest.raises(RewardBackendFailed, match=r"127\.0\.0\.1:1 .*cannot be reached"):
        nowhere.score(videos(), PROMPTS)


@pytest.mark.parametrize(
    "options",
    [{"url": "file:///etc/passwd"}, {"url": "http:///x"}, {"retries": 3}, {"token_file": "/none"}],
)
def test_rows_that_describe_no_endpoint_are_refused(
    server: Server, options: dict[str, Any]
) -> None:
    with pytest.raises(CatalogueUnusable, match="does not describe an HTTP endpoint"):
        reward(server, **options)
