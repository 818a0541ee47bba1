from __future__ import annotations

from uuid import UUID

import pytest

from domain import artifacts, db, pages
from domain.errors import InvalidCursor
from domain.prompt_sets import placed_prompts
from domain.tables import PromptSet
from tests import lives

pytestmark = pytest.mark.usefixtures("settings")

NO_NUMBERS = [[10**30], [2**31], [-1], [True], [1.0], ["1"], [1, 2], []]


@pytest.mark.parametrize("place", NO_NUMBERS)
def test_a_crafted_number_is_no_place_in_any_list(place: list[str | int]) -> None:
    job = lives.waiting()
    prompts = PromptSet(id=UUID(int=1), items=[])
    in_checkpoints = pages.encoded(place, f"checkpoints {job.id}")
    in_prompts = pages.encoded(place, f"prompts {prompts.id} 0.2 None")
    with db.read() as session, pytest.raises(InvalidCursor):
        artifacts.checkpoints(session, job_id=job.id, cursor=in_checkpoints)
    with pytest.raises(InvalidCursor):
        placed_prompts(prompts, heldout_fraction=0.2, side=None, cursor=in_prompts, limit=1)


def test_the_greatest_number_is_a_place() -> None:
    job = lives.waiting()
    last = pages.encoded([2**31 - 1], f"checkpoints {job.id}")
    with db.read() as session:
        assert artifacts.checkpoints(session, job_id=job.id, cursor=last).items == []
