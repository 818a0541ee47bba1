"""Examples for the OpenAPI document, taken from what the API answers in its own tests.

    python -m pytest tests/api --record-examples

writes api/examples.json anew: for every operation and status of success the most telling body of those
that the tests met.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILE = Path(__file__).parents[2] / "api" / "examples.json"
LONGEST = 6000
_LONGEST_STREAM = 1200

Examples = dict[str, dict[str, Any]]
_examples: Examples = {}


class Recorder:
    """Middleware that keeps what the app answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept: dict[str, Any] = {"status": 0, "type": "", "body": b""}

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message["headers"]}
                kept["status"] = message["status"]
                kept["type"] = headers.get(b"content-type", b"").decode().partition(";")[0]
            elif len(kept["body"]) < 10 * LONGEST:
                kept["body"] += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, keep)
        finally:
            route = scope.get("route")
            if route is not None and 200 <= kept["status"] < 300 and kept["body"]:
                _take(route.name, str(kept["status"]), kept["type"], kept["body"])


def write() -> None:
    """Writes what was met, over what an earlier run met."""
    known: Examples = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    known.update(_examples)
    FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")


def _take(operation: str, status: str, media_type: str, body: bytes) -> None:
    if media_type == "application/json":
        value = json.loads(body)
    elif media_type.startswith("text/"):
        value = body.decode(errors="replace")[:_LONGEST_STREAM]
    else:
        return
    answers = _examples.setdefault(operation, {}).setdefault(status, {})
    if media_type not in answers or _worth(value) > _worth(answers[media_type]):
        answers[media_type] = value


def _worth(value: Any) -> tuple[bool, int]:
    """Bodies of a readable length come first, then those that leave least empty."""
    size = len(json.dumps(value))
    return (size <= LONGEST, _filled(value) if size <= LONGEST else -size)


def _filled(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_filled(each) for each in value.values())
    if isinstance(value, list):
        # The second of a kind tells nothing new.
        return sum(_filled(each) for each in value[:1])
    return int(value not in (None, ""))
