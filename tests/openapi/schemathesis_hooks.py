"""How schemathesis writes bodies of media types that it does not know."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def json_lines(_context: Any, value: Any) -> bytes:
    """Binary bodies as they are, anything else as one JSON value a line."""
    if isinstance(value, bytes):
        return value
    lines = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(line) for line in lines).encode()
