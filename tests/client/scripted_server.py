"""An HTTP server that answers as it is told, one answer a request, to show how the client bears faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from client import VaderClient


@dataclass(frozen=True)
class Reply:
    """One answer. With `cut` the connection breaks after `body`, before the announced length."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Script:
    """Where the server is, what it was asked so far, and what it will answer."""

    url: str
    replies: list[Reply]
    asked: list[Asked] = field(default_factory=list)


def json_reply(document: object, *, status: int = 200, **headers: str) -> Reply:
    return Reply(
        status, json.dumps(document).encode(), {"Content-Type": "application/json", **headers}
    )


def problem_reply(status: int, code: str, **more: object) -> Reply:
    document = {"status": status, "code": code, "title": f"It is {code}", **more}
    return Reply(
        status, json.dumps(document).encode(), {"Content-Type": "application/problem+json"}
    )


def stream_reply(events: Sequence[Mapping[str, object]], *, cut: bool = False) -> Reply:
    text = "retry: 3000\n\n" + "".join(
        f"id: {event['seq']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
        for event in events
    )
    return Reply(200, text.encode(), {"Content-Type": "text/event-stream"}, cut=cut)


@contextmanager
def serving(*replies: Reply) -> Iterator[Script]:
    """Serves the replies in their order, each once; after the last one everything is answered 599."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    script = Script(f"http://127.0.0.1:{server.server_port}", list(replies))
    server.script = script  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def talking(*replies: Reply) -> Iterator[tuple[VaderClient, Script]]:
    """A client whose requests get the replies, and the script that they follow."""
    with serving(*replies) as script, VaderClient(script.url, "key") as vader:
        yield vader, script


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def _answer(self) -> None:
        script: Script = self.server.script  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        script.asked.append(Asked(self.command, self.path, dict(self.headers), body))
        reply = script.replies.pop(0) if script.replies else Reply(599)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + (1 if reply.cut else 0)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = reply.cut
