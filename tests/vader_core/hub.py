"""A hub of a few files: the endpoints that copying a repository asks for, on a local port."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Hub:
    """Repositories by name: their commits, the newest last, each with its files."""

    repos: dict[str, dict[str, Files]] = field(default_factory=dict)
    url: str = ""
    sent: list[str] = field(default_factory=list)
    fail_at: str | None = None


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """`hub.url` answers inside the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: Any) -> None:
            """Silent."""

        def _answer(self, *, body: bool) -> None:
            status, headers, content = _respond(hub, unquote(urlsplit(self.path).path))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _respond(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "models"]:
        return _described(hub, "/".join(parts[2:4]), parts[4:])
    repo, commit, name = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
    content = hub.repos.get(repo, {}).get(commit, {}).get(name)
    if content is None:
        return 404, {"X-Error-Code": "EntryNotFound"}, b""
    if name == hub.fail_at:
        return 403, {}, b""
    hub.sent.append(name)
    etag = hashlib.sha256(content).hexdigest()
    return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, content


def _described(hub: Hub, repo: str, rest: list[str]) -> tuple[int, dict[str, str], bytes]:
    commits = hub.repos.get(repo)
    if not commits:
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
    newest = list(commits)[-1]
    commit = newest if len(rest) < 2 or rest[1] == "main" else rest[1]
    if commit not in commits:
        return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
    if rest[:1] == ["tree"]:
        listed = [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in commits[commit].items()
        ]
        return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()
    siblings = [{"rfilename": name} for name in commits[commit]]
    found = {"_id": repo, "id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
    return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()
