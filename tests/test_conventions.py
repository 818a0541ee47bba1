"""Conventions that no off-the-shelf linter knows. Each rule is one function over one file's tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture_map import expected_map, written_map

ROOT = Path(__file__).parents[1]
PACKAGES = ("api", "client", "domain", "vader_core", "worker")
# Each is the one door for the rows of its table.
STATUS_CHANGERS = ("domain/jobs.py", "domain/short_tasks.py", "domain/webhook_deliveries.py")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def method_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


def updated_columns(tree: ast.AST) -> Iterator[str]:
    """The columns that an UPDATE or INSERT names as `.values(column=...)`."""
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and getattr(called, "attr", "") == "values":
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def assigned_attributes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        yield from (target.attr for target in targets if isinstance(target, ast.Attribute))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_source_file_keeps_the_conventions(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    calls = set(method_calls(tree))
    if where != "domain/db.py":
        assert "commit" not in calls, "only domain/db.py commits"
    if where != "domain/queue.py":
        assert not calls & {"delay", "apply_async", "send_task"}, "only domain/queue.py enqueues"
    if where not in STATUS_CHANGERS:
        assert "status" not in set(assigned_attributes(tree)), "a status is assigned"
        assert "status" not in set(updated_columns(tree)), f"only {STATUS_CHANGERS} change a status"
    assert len(text.splitlines()) <= 400, "a module of over 400 lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is over 60 lines"


def test_the_map_has_a_true_line_for_every_file() -> None:
    assert written_map() == expected_map(), "run: python -m tests.architecture_map"
