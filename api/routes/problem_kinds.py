"""What the `type` of a problem links to."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from api.openapi import problems
from api.problems import kinds
from api.schemas.shared import Shape
from domain.errors import NotFound

router = APIRouter(tags=["problems"])


class ProblemKind(Shape):
    """One kind of problem."""

    object: Literal["problem_kind"] = "problem_kind"
    code: str
    status: int
    meaning: str


@router.get("/problems/{kind}", responses=problems(404, 422))
def get_problem_kind(kind: str) -> ProblemKind:
    """What a problem means and what helps."""
    code = kind.replace("-", "_")
    if code not in kinds():
        raise NotFound(f"There is no problem {kind[:100]!r}. Known: {', '.join(sorted(kinds()))}.")
    status, meaning = kinds()[code]
    return ProblemKind(code=code, status=status, meaning=meaning)
