from __future__ import annotations

import pickle

import pytest

from domain import errors
from domain.errors import DomainError, InvalidTransition, MissingScope, ValidationFailed
from vader_core.faults import Fault

FAULT = Fault(pointer="/budget", code="missing", detail="It is missing.")


def kinds(kind: type[DomainError] = DomainError) -> list[type[DomainError]]:
    known = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(found for child in known for found in kinds(child))]


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFound("gone"),
        MissingScope("no", scope="jobs:write"),
        InvalidTransition("no", current_status="failed", allowed_actions=["cancel"]),
        ValidationFailed([FAULT], what="job spec"),
    ],
)
def test_an_error_survives_the_way_between_processes(error: DomainError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_a_validation_error_counts_its_faults() -> None:
    assert ValidationFailed([FAULT], what="job spec").title == "The job spec has 1 problem"
    assert ValidationFailed([FAULT, FAULT]).title == "The request has 2 problems"
