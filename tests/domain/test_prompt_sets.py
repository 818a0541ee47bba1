from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import Session

from domain import db, jobs, prompt_sets
from domain.callers import Origin
from domain.errors import ArtifactExpired, InUse, NotFound
from domain.ids import to_public
from domain.tables import Job, PromptSet
from tests import factories, lives
from vader_core.spec import Prompt, Prompts

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


def deleted(project_id: UUID, made: PromptSet) -> None:
    with db.transaction() as session:
        prompt_sets.delete(session, project_id=project_id, prompt_set_id=made.id)


def job_of(session: Session, project_id: UUID, made: PromptSet) -> Job:
    spec = factories.spec()
    prompts = Prompts(prompt_set=prompt_sets.reference_to(made))
    return jobs.create(
        session,
        spec=spec.model_copy(update={"prompts": prompts}),
        asked_spec={},
        origin=Origin(project_id=project_id, trace_id=""),
    )


def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(project_id: UUID) -> None:
    first, second = make(project_id), make(project_id)
    deleted(project_id, second)
    deleted(project_id, second)
    for gone in (prompt_sets.reference_to(second), to_public("ps", second.id), "shapes@v2"):
        assert loaded(project_id, gone) is None
    assert loaded(project_id, "shapes") == PROMPTS
    with db.read() as session:
        listed = prompt_sets.list_sets(
            session, project_id=project_id, name=None, cursor=None, limit=5
        )
        assert [row.id for row in listed.items] == [first.id]
        left = session.get_one(PromptSet, second.id)
        assert (left.items, left.size_bytes) == ([], 0)
        with pytest.raises(ArtifactExpired):
            prompt_sets.get(session, project_id=project_id, prompt_set_id=second.id)
    assert make(project_id).version == 3


def test_a_set_is_kept_while_a_job_that_is_not_over_needs_it(project_id: UUID) -> None:
    made, other = make(project_id), make(project_id)
    with db.transaction() as session:
        job = job_of(session, project_id, made)
    with pytest.raises(InUse) as refused:
        deleted(project_id, made)
    assert refused.value.extra == {"used_by": [to_public("job", job.id)]}
    deleted(project_id, other)
    lives.cancel(job.id)
    deleted(project_id, made)
    with pytest.raises(NotFound), db.transaction() as session:
        prompt_sets.delete(session, project_id=uuid4(), prompt_set_id=made.id)


def test_a_job_that_is_being_made_of_a_set_keeps_it_from_being_deleted(project_id: UUID) -> None:
    made = make(project_id)
    reference = prompt_sets.reference_to(made)
    outcome: list[str] = []

    def delete() -> None:
        try:
            deleted(project_id, made)
            outcome.append("deleted")
        except InUse:
            outcome.append("in use")

    with db.transaction() as session:
        assert prompt_sets.find(session, project_id=project_id, reference=reference, hold=True)
        other = threading.Thread(target=delete)
        other.start()
        job_of(session, project_id, made)
        other.join(0.2)
        assert outcome == []
    other.join()
    assert outcome == ["in use"]


def test_a_job_whose_prompts_are_gone_fails_and_stops_no_other(project_id: UUID) -> None:
    made = make(project_id)
    with db.transaction() as session:
        job = job_of(session, project_id, made)
    with db.transaction() as session:
        session.get_one(PromptSet, made.id).deleted_at = db.utc_now()
    other = lives.waiting()
    assert lives.claimed().job_id == other.id
    failed = lives.now(job.id)
    assert failed.error is not None
    assert (failed.status, failed.error["code"]) == ("failed", "spec_unusable")
