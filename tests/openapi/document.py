"""The OpenAPI document of the app, and the one that is published in docs/openapi.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from api.app import create_app
from domain.settings import Settings

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def current() -> dict[str, Any]:
    """What the app says of itself. Nothing is connected to for it."""
    settings = Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        redis_url=SecretStr("redis://127.0.0.1:1"),
        object_store=f"folder://{FILE.parent}",
    )
    document: dict[str, Any] = json.loads(json.dumps(create_app(settings).openapi()))
    return document


def published() -> dict[str, Any]:
    """What clients were promised."""
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return document
