from __future__ import annotations

import pytest

from tests.sync_client import BY_HAND, TARGET, generated, names

TEXTS = generated()


@pytest.mark.parametrize("name", names())
def test_the_synchronous_client_is_what_the_asynchronous_one_generates(name: str) -> None:
    assert (TARGET / name).read_text() == TEXTS[name], "run: python -m tests.sync_client"


def test_nothing_else_is_in_its_folder() -> None:
    assert {path.name for path in TARGET.glob("*.py")} == {*names(), *BY_HAND}
