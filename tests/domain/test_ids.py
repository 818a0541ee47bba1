from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import NotFound
from domain.ids import from_public, new_id, to_public


@given(st.uuids())
def test_an_id_comes_back_from_its_public_form(uuid: UUID) -> None:
    text = to_public("job", uuid)
    assert text.startswith("job_")
    assert len(text) == 30
    assert from_public("job", text) == uuid


def test_new_ids_are_of_version_7_and_sort_by_age() -> None:
    made = [new_id() for _ in range(50)]
    assert {uuid.version for uuid in made} == {7}
    assert made == sorted(made)
    assert [to_public("job", uuid) for uuid in made] == sorted(to_public("job", u) for u in made)


@given(st.text())
def test_any_other_text_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        from_public("job", text)


def test_an_id_of_another_kind_is_not_found() -> None:
    with pytest.raises(NotFound, match="no job"):
        from_public("job", to_public("ps", new_id()))
