"""`python -m tests.sync_client` writes `client/sync` from `client/aio`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from unasync import Rule, unasync_files

ROOT = Path(__file__).parents[1]
SOURCE, TARGET = ROOT / "client" / "aio", ROOT / "client" / "sync"
# Written by hand on both sides: what they differ in.
BY_HAND = {"__init__.py", "basics.py"}
_WORDS = {
    "AsyncVaderClient": "VaderClient",
    "AsyncClient": "Client",
    "aclose": "close",
    "aclosing": "closing",
    "aio": "sync",
    "aiter_bytes": "iter_bytes",
    "aiter_sse": "iter_sse",
    "aread": "read",
}


def names() -> list[str]:
    """The modules that are generated."""
    return sorted(path.name for path in SOURCE.glob("*.py") if path.name not in BY_HAND)


def generated() -> dict[str, str]:
    """The text of every generated module by its name."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "aio", Path(folder) / "sync"
        before.mkdir()
        after.mkdir()
        for name in names():
            (before / name).write_text((SOURCE / name).read_text())
        rule = Rule(f"{before}/", f"{after}/", additional_replacements=_WORDS)
        unasync_files([str(before / name) for name in names()], [rule])
        for name in names():
            note = f"# Generated from client/aio/{name} by `python -m tests.sync_client`. Do not edit.\n"
            (after / name).write_text(note + (after / name).read_text())
        _format(after)
        return {name: (after / name).read_text() for name in names()}


def _format(folder: Path) -> None:
    """In the way of this repository: imports sorted, loops that only yield as `yield from`."""
    ruff = str(Path(sys.executable).parent / "ruff")
    common = ["--quiet", "--config", str(ROOT / "pyproject.toml")]
    own = ["--config", 'lint.isort.known-first-party = ["client"]']
    rules = ["--select", "I,UP028", "--fix", "--unsafe-fixes"]
    subprocess.run([ruff, "check", *rules, *common, *own, str(folder)], check=True)
    subprocess.run([ruff, "format", *common, str(folder)], check=True)


def main() -> None:
    """Writes the modules, and removes those that have no source any more."""
    for path in TARGET.glob("*.py"):
        if path.name not in BY_HAND and path.name not in names():
            path.unlink()
    for name, text in generated().items():
        (TARGET / name).write_text(text)


if __name__ == "__main__":
    main()
