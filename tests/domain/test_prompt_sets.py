from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from domain import db, prompt_sets
from domain.errors import NotFound
from domain.ids import to_public
from domain.tables import PromptSet
from tests import factories
from vader_core.spec import Prompt

pytestmark = pytest.mark.usefixtures("settings")

PROMPTS = [Prompt(prompt="a red circle", target="moving left"), Prompt(prompt="b", heldout=True)]


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def make(project_id: UUID, name: str = "shapes") -> PromptSet:
    with db.transaction() as session:
        return factories.prompt_set(session, project_id, PROMPTS, name=name)


def loaded(project_id: UUID, reference: str) -> list[Prompt] | None:
    with db.read() as session:
        return prompt_sets.load(session, project_id=project_id, reference=reference)


def test_prompts_come_back_as_they_were_given(project_id: UUID) -> None:
    public = to_public("ps", make(project_id).id)
    assert loaded(project_id, public) == PROMPTS
    assert loaded(project_id, f"{public}@v1") == PROMPTS


def test_a_name_used_again_is_a_new_version_with_its_own_id(project_id: UUID) -> None:
    first, second = make(project_id), make(project_id)
    assert (first.version, second.version) == (1, 2)
    assert first.id != second.id
    assert first.sha256 == second.sha256
    assert make(project_id, "others").version == 1


def test_versions_made_at_the_same_time_differ(project_id: UUID) -> None:
    start = threading.Barrier(4, timeout=10)

    def race(_: int) -> int:
        start.wait()
        return make(project_id).version

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(race, range(4))) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "reference",
    ["", "ps_", "circles", "{id}@v2", "{id}@1", "job_{tail}", "shapes@v2", "shapes@1", "shapes\0"],
)
def test_a_reference_to_nothing_is_none(project_id: UUID, reference: str) -> None:
    public = to_public("ps", make(project_id).id)
    tail = public.removeprefix("ps_")
    assert loaded(project_id, reference.format(id=public, tail=tail)) is None


def test_a_name_means_its_newest_version_and_may_ask_for_another(project_id: UUID) -> None:
    first, second = make(project_id), make(project_id)
    with db.read() as session:

        def found(reference: str) -> UUID | None:
            row = prompt_sets.find(session, project_id=project_id, reference=reference)
            return None if row is None else row.id

        assert found("shapes") == second.id
        assert found("shapes@v1") == first.id
        assert found(prompt_sets.reference_to(first)) == first.id


def test_a_set_whose_name_looks_like_a_version_is_found_by_its_name(project_id: UUID) -> None:
    make(project_id)
    odd = make(project_id, "shapes@v1")
    with db.read() as session:
        found = prompt_sets.find(session, project_id=project_id, reference="shapes@v1")
    assert found is not None
    assert found.id == odd.id


def test_another_projects_set_is_not_there(project_id: UUID) -> None:
    made = make(project_id)
    assert loaded(uuid4(), to_public("ps", made.id)) is None
    with db.read() as session, pytest.raises(NotFound):
        prompt_sets.get(session, project_id=uuid4(), prompt_set_id=made.id)


def test_sets_are_listed_newest_first(project_id: UUID) -> None:
    made = [make(project_id).id for _ in range(3)]
    with db.read() as session:
        first = prompt_sets.list_sets(
            session, project_id=project_id, name=None, cursor=None, limit=2
        )
        rest = prompt_sets.list_sets(
            session, project_id=project_id, name=None, cursor=first.next_cursor, limit=2
        )
    assert [row.id for row in [*first.items, *rest.items]] == made[::-1]
    assert rest.next_cursor is None
