"""A short run of what `python -m tests.openapi.fuzzing` does at length."""

from __future__ import annotations

import pytest

from tests.openapi import fuzzing


@pytest.mark.timeout(600)
def test_no_answer_is_a_500_or_outside_the_document() -> None:
    with fuzzing.target() as found:
        assert fuzzing.ask(found, seed=1, max_examples=2) == 0
        assert found.failed() == []
        assert found.answered() > 1000
