from __future__ import annotations

import pickle

import pytest

from vader_core import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_the_way_between_processes(kind: type[errors.TrainerError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what", hint="help", step=3)))
    assert (type(error), error.message, error.hint, error.step) == (kind, "what", "help", 3)


def test_every_error_has_its_own_code_and_exit_status() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert len({kind.exit_status for kind in KINDS}) == len(KINDS)
