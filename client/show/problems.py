"""What went wrong, as text."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from client.errors import RequestRefused, VaderError


def show_error(console: Console, error: VaderError) -> None:
    """What went wrong, with every fault the service named."""
    if not isinstance(error, RequestRefused):
        console.print(Text(f"Error: {error}"), soft_wrap=True, highlight=False)
        return
    problem = error.problem
    console.print(Text(f"Refused ({problem.status} {problem.code}): {problem.title}"))
    if problem.detail:
        console.print(Text(problem.detail), soft_wrap=True)
    for fault in problem.errors:
        near = ", ".join(str(value) for value in fault.nearest)
        hint = f" Nearest: {near}." if near else ""
        console.print(
            Text(f"  {fault.place}: {fault.detail}{hint}"), soft_wrap=True, highlight=False
        )
    if problem.allowed_actions:
        console.print(Text(f"Possible now: {', '.join(problem.allowed_actions)}"))
    if problem.request_id:
        console.print(Text(f"Request: {problem.request_id}"), style="dim")
