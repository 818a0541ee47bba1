"""Uploads: one row for the same bytes, and no deletion under somebody who uses it."""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import UUID

import pytest

from domain import claims, db, uploads
from domain.errors import Conflict, NotFound
from domain.ids import new_id, to_public
from domain.upload_table import Upload
from domain.uploads import KINDS, Received
from tests import factories, lives, scoring_lives
from vader_core.spec import Prompt

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def received(sha256: str = "a" * 64, content_type: str = "image/png") -> Received:
    return Received(Path("nowhere"), "a file", content_type, sha256, 10)


def added(project_id: UUID, file: Received | None = None) -> Upload:
    with db.transaction() as session:
        return uploads.add(
            session, upload_id=new_id(), project_id=project_id, file=file or received()
        )


def public(row: Upload) -> str:
    return to_public("upl", row.id)


def delete(project_id: UUID, upload_id: UUID) -> str:
    with db.transaction() as session:
        return uploads.delete(session, project_id=project_id, upload_id=upload_id)


@pytest.mark.parametrize(
    ("content_type", "head"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n"),
        ("image/jpeg", b"\xff\xd8\xff\xe1"),
        ("image/webp", b"RIFF1234WEBPVP8L"),
        ("video/mp4", b"\x00\x00\x00\x1cftypmp42"),
        ("video/webm", b"\x1aE\xdf\xa3\x9f"),
    ],
)
def test_each_type_is_told_by_its_first_bytes_and_no_other(content_type: str, head: bytes) -> None:
    assert [name for name, kind in KINDS.items() if kind.begins(head)] == [content_type]
    assert not KINDS[content_type].begins(b"")


def test_the_same_bytes_are_one_row_a_project(project_id: UUID) -> None:
    first, again = added(project_id), added(project_id)
    assert again.id == first.id
    assert first.key == f"uploads/{public(first)}"
    with db.transaction() as session:
        other = factories.project(session).id
    assert added(other).id != first.id


def test_two_at_once_with_the_same_bytes_get_the_same_row(project_id: UUID) -> None:
    found: list[UUID] = []
    with db.transaction() as session:
        row = uploads.add(session, upload_id=new_id(), project_id=project_id, file=received())
        second = threading.Thread(target=lambda: found.append(added(project_id).id))
        second.start()
        second.join(0.2)
        assert second.is_alive(), "the second must wait for the first"
    second.join(20)
    assert found == [row.id]


def test_only_what_the_project_has_is_found(project_id: UUID) -> None:
    ours = added(project_id)
    with db.transaction() as session:
        other = factories.project(session).id
    theirs = added(other)
    names = [public(ours), public(theirs), to_public("upl", new_id()), "job_1", "x.png", ""]
    with db.transaction() as session:
        found = uploads.in_project(session, project_id=project_id, names=names)
    assert list(found) == [public(ours)]
    with db.read() as session, pytest.raises(NotFound):
        uploads.get(session, project_id=new_id(), upload_id=ours.id)


def test_what_is_used_cannot_be_deleted_and_what_is_not_can(project_id: UUID) -> None:
    used, free = added(project_id), added(project_id, received("b" * 64))
    with db.transaction() as session:
        prompts = [Prompt(prompt="x", image=public(used))]
        made = factories.prompt_set(session, project_id, prompts)
    with pytest.raises(Conflict) as caught:
        delete(project_id, used.id)
    assert caught.value.extra["used_by"] == [to_public("ps", made.id)]
    assert delete(project_id, free.id) == free.key
    with pytest.raises(NotFound):
        delete(project_id, free.id)


def test_a_deletion_waits_for_whoever_is_about_to_use_it(project_id: UUID) -> None:
    row = added(project_id)
    outcome: list[object] = []

    def try_it() -> None:
        try:
            outcome.append(delete(project_id, row.id))
        except Conflict as error:
            outcome.append(error)

    with db.transaction() as session:
        uploads.in_project(session, project_id=project_id, names=[public(row)])
        deletion = threading.Thread(target=try_it)
        deletion.start()
        deletion.join(0.2)
        assert deletion.is_alive(), "the deletion must wait"
        prompts = [Prompt(prompt="x", image=public(row))]
        factories.prompt_set(session, project_id, prompts)
    deletion.join(20)
    assert isinstance(outcome[0], Conflict)


def test_a_scoring_keeps_its_videos_until_it_has_ended(project_id: UUID) -> None:
    row = added(project_id, received(content_type="video/mp4"))
    scoring_lives.waiting(project_id, scoring_lives.video(upload=public(row), key=row.key))
    claim = scoring_lives.claimed()
    with pytest.raises(Conflict, match="scr_"):
        delete(project_id, row.id)
    scoring_lives.succeeded(claim)
    assert delete(project_id, row.id) == row.key


def test_a_claim_names_each_first_image_once_also_of_a_prompt_set() -> None:
    job = lives.waiting()
    row = added(job.project_id)
    prompts = [Prompt(prompt=text, image=public(row)) for text in ("a", "b")]
    with db.transaction() as session:
        made = factories.prompt_set(session, job.project_id, prompts)
        changed = session.merge(job)
        prompt_set = to_public("ps", made.id)
        changed.spec = {**job.spec, "prompts": {"prompt_set": prompt_set, "inline": None}}
    with db.transaction() as session:
        claim = claims.claim(session, worker="w", hardware="cpu")
    assert claim is not None
    (image,) = claim.images
    assert (image.name, image.key, image.sha256) == (public(row), row.key, row.sha256)
