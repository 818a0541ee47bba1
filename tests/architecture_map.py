"""The map in ARCHITECTURE.md: one line for every file, which is the first sentence of its docstring.

python -m tests.architecture_map    writes the map into ARCHITECTURE.md
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
PACKAGES = ("api", "benchmarks", "client", "domain", "migrations", "vader_core", "worker")
HEADING = "## The map\n"


def expected_map() -> str:
    """The map as it should stand at the end of the page."""
    parts = []
    for package in PACKAGES:
        rows = [
            f"| `{path.relative_to(ROOT).as_posix()}` | {_line(path)} |" for path in _files(package)
        ]
        parts.append(
            "\n".join([f"### {package}/", "| file | what it is |", "|---|---|", *rows]) + "\n"
        )
    return "\n".join(parts)


def written_map() -> str:
    """The map as it stands there."""
    return PAGE.read_text(encoding="utf-8").partition(HEADING)[2]


def _files(package: str) -> list[Path]:
    paths = sorted((ROOT / package).rglob("*.py"))
    return [path for path in paths if path.name != "__init__.py" or path.read_text().strip()]


def _line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{path} has no docstring"
    return docstring.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8").partition(HEADING)[0]
    PAGE.write_text(before + HEADING + expected_map(), encoding="utf-8")
