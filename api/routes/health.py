"""For load balancers: is the process alive, and can it serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from pydantic import JsonValue

from api.deps import StoreDep
from api.openapi import problems
from api.schemas.shared import Shape
from domain import db, queue
from domain.errors import Unavailable

router = APIRouter(tags=["health"])


class Alive(Shape):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Shape):
    """Everything that requests need can be reached."""

    status: Literal["ok"] = "ok"
    checks: dict[str, Literal["ok"]]


@router.get("/livez")
def get_liveness() -> Alive:
    """200 while the process runs."""
    return Alive()


@router.get("/readyz", responses=problems(503))
def get_readiness(store: StoreDep) -> Ready:
    """200 when database, queue and object store answer; else 503, `checks` tells which does not."""
    checks: dict[str, Callable[[], None]] = {
        "database": db.ping,
        "redis": queue.ping,
        "object_store": store.check,
    }
    answers = {name: _answers(check) for name, check in checks.items()}
    away = [name for name, answers_now in answers.items() if not answers_now]
    if away:
        states: dict[str, JsonValue] = {
            name: "ok" if well else "unavailable" for name, well in answers.items()
        }
        raise Unavailable(f"Cannot be reached now: {', '.join(away)}.", checks=states)
    return Ready(checks=dict.fromkeys(checks, "ok"))


def _answers(check: Callable[[], None]) -> bool:
    try:
        check()
    except Unavailable:
        return False
    return True
