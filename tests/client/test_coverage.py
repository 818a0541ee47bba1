"""Every route of the API has a call in the client."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.openapi.document import current

AIO = Path(__file__).parents[2] / "client" / "aio"
_VERBS = {
    "_get": "GET",
    "_list": "GET",
    "_text": "GET",
    "_post": "POST",
    "_post_bytes": "POST",
    "_put": "PUT",
    "_patch": "PATCH",
    "_delete": "DELETE",
    "_delete_kept": "DELETE",
    "location": "GET",
    "fetch": "GET",
}
# Not for programs with an API key.
EXCEPTIONS = {
    "GET /livez": "load balancers ask it",
    "GET /readyz": "load balancers ask it",
    "GET /metrics": "Prometheus asks it",
    "GET /llms.txt": "for programs that read",
    "GET /problems/{}": "what a problem's type links to",
    "GET /v1/objects/{}": "signed links lead there; downloads follow them",
    "POST /v1/invitations/accept": "members, in a browser",
    "POST /v1/sessions": "members, in a browser",
    "GET /v1/sessions": "members, in a browser",
    "DELETE /v1/sessions/current": "members, in a browser",
    "DELETE /v1/sessions/{}": "members, in a browser",
}


def _template(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _called() -> set[str]:
    """The routes that `self._get(..., at("..."))` and the like name, in one expression or by a variable."""
    found: set[str] = set()
    for source in AIO.glob("*.py"):
        tree = ast.parse(source.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                paths = {
                    node.args[0].value
                    for node in ast.walk(function)
                    if isinstance(node, ast.Call)
                    and getattr(node.func, "id", "") == "at"
                    and isinstance(node.args[0], ast.Constant)
                }
                verbs = {
                    _VERBS[name]
                    for node in ast.walk(function)
                    if isinstance(node, ast.Call)
                    and (name := getattr(node.func, "attr", getattr(node.func, "id", ""))) in _VERBS
                }
                found |= {f"{verb} {_template(str(path))}" for verb in verbs for path in paths}
    return found


@functools.cache
def _offered() -> set[str]:
    paths = current()["paths"]
    return {f"{verb.upper()} {_template(path)}" for path, verbs in paths.items() for verb in verbs}


def test_every_route_has_a_call() -> None:
    missing = _offered() - _called() - set(EXCEPTIONS)
    assert not missing, f"without a method in client/aio: {sorted(missing)}"


def test_every_call_has_a_route() -> None:
    unknown = {call for call in _called() if call not in _offered()}
    assert not unknown, f"not in the API: {sorted(unknown)}"


def test_every_exception_is_a_route() -> None:
    assert set(EXCEPTIONS) <= _offered()
