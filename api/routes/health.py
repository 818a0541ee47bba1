"""For those who watch over the service or meet it: is it alive, can it serve, its numbers, what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import JsonValue

from api import measured as measured_numbers
from api.deps import MeasuredDep, StoreDep
from api.openapi import problems
from api.schemas.shared import Shape
from domain import db, queue
from domain.errors import Unavailable

router = APIRouter(tags=["health"])
_LLMS_TXT = """\
# VADER

> An HTTP API that aligns video diffusion models with rewards, by their gradients or without: POST a job
> (base model, prompts, rewards, budget), watch it, download a LoRA adapter with a verdict on whether it
> is better than the base model on held-out prompts.

Every request below /v1 needs `Authorization: Bearer <API key>`, every POST an `Idempotency-Key`. Errors
are problem+json (RFC 9457) with all faults of an input at once. A dry run (POST /v1/jobs/dry-run) checks
a job and estimates memory, time and cost without making it.

## Documentation

- [OpenAPI description]({base}/openapi.json): every path, body, answer and error, with examples
- [The same to read and try]({base}/docs)
- [Base models]({base}/v1/base-models), [rewards]({base}/v1/rewards) and [methods]({base}/v1/methods): what a
  job may ask for (with an API key)
- [What an error means]({base}/problems/validation-failed): the `type` of every problem leads to such a page
"""


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


@router.get("/metrics", response_class=PlainTextResponse)
def get_service_metrics(measured: MeasuredDep) -> Response:
    """Numbers for Prometheus, in its text format: of this process requests by kind of route and status,
    how long they took until the answer began, and open streams; of the service jobs by status, depth and
    age of the queues, held leases, living workers and webhooks that are due. Nothing is of one project.
    """
    return Response(measured.text(), media_type=measured_numbers.MEDIA_TYPE)


@router.get("/llms.txt", response_class=PlainTextResponse)
def get_llms_txt(request: Request) -> PlainTextResponse:
    """What this service is and where its documentation lies, for programs that read."""
    return PlainTextResponse(_LLMS_TXT.format(base=str(request.base_url).rstrip("/")))


def _answers(check: Callable[[], None]) -> bool:
    try:
        check()
    except Unavailable:
        return False
    return True
