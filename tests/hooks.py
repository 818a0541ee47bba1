"""Webhook endpoints and receivers for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

from domain import callers, db, webhooks
from domain.webhook_tables import WebhookEndpoint
from domain.webhooks import Wish


def caller(project_id: UUID) -> callers.Caller:
    """Somebody of the project with every right."""
    return callers.Caller(
        project_id=project_id,
        name="test",
        scopes=[],
        key_id=None,
        member_id=None,
        expires_at=None,
        last_used_at=None,
    )


def endpoint(
    project_id: UUID,
    url: str = "https://example.com/hook",
    *,
    event_types: list[str] | None = None,
    enabled: bool = True,
) -> tuple[WebhookEndpoint, str]:
    """A stored endpoint and its secret."""
    wish = Wish(url=url, description="", event_types=event_types, enabled=enabled)
    with db.transaction() as session:
        return webhooks.create(session, caller(project_id), wish)


@dataclass
class Received:
    """One request: its path, its headers in lower case and its body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What a server got, and how it answers: status, headers and body for each request."""

    url: str
    answer: Callable[[int], tuple[int, dict[str, str], bytes]]
    got: list[Received] = field(default_factory=list)


@contextmanager
def receiver(
    answer: Callable[[int], tuple[int, dict[str, str], bytes]] = lambda _: (204, {}, b""),
) -> Iterator[Receiver]:
    """A server on the loopback interface; `answer` is asked with the number of the request, from 1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                made.got.append(Received(self.path, headers, body))
                number = len(made.got)
            status, extra, content = made.answer(number)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Tests need no access log."""

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
