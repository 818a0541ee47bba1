from __future__ import annotations

import json
import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import select

from domain import db, events, generations, jobs, webhook_outbox, webhooks
from domain.callers import Origin
from domain.ids import to_public
from domain.job_status import Status
from domain.jobs import Ties
from domain.tables import Job
from domain.webhook_tables import WebhookDelivery
from tests import factories, generation_lives, hooks, lives

pytestmark = pytest.mark.usefixtures("settings")


def project() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def post(project_id: UUID, notify: dict[str, Any] | None = None, **changes: Any) -> Job:
    with db.transaction() as session:
        return jobs.create(
            session,
            spec=factories.spec(**changes),
            asked_spec=factories.document(**changes),
            origin=Origin(project_id=project_id, trace_id="0" * 32),
            ties=Ties(notify=notify),
        )


def tell(job_id: UUID, *kinds: str) -> None:
    with db.transaction() as session:
        for kind in kinds:
            events.append(session, job_id=job_id, type=kind, message="")


def queued(endpoint_id: UUID) -> list[WebhookDelivery]:
    with db.read() as session:
        query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
        return list(session.scalars(query.order_by(WebhookDelivery.created_at)))


def types(endpoint_id: UUID) -> list[str]:
    return [delivery.event_type for delivery in queued(endpoint_id)]


def test_an_endpoint_hears_of_what_it_wants_and_by_default_of_all_but_metrics() -> None:
    project_id = project()
    usual, _ = hooks.endpoint(project_id)
    choosy, _ = hooks.endpoint(project_id, event_types=["job.metric", "job.failed"])
    off, _ = hooks.endpoint(project_id, enabled=False)
    foreign, _ = hooks.endpoint(project())
    job = post(project_id)
    tell(job.id, "job.metric", "job.failed")
    assert types(usual.id) == ["job.created", "job.queued", "job.failed"]
    assert types(choosy.id) == ["job.metric", "job.failed"]
    assert types(off.id) == types(foreign.id) == []


def test_a_job_may_say_who_hears_of_what() -> None:
    project_id = project()
    one, _ = hooks.endpoint(project_id, event_types=["job.queued"])
    other, _ = hooks.endpoint(project_id)
    named = {"webhook_endpoints": [to_public("we", one.id)]}
    tell(post(project_id, {**named, "events": ["job.metric"]}).id, "job.metric", "job.failed")
    assert (types(one.id), types(other.id)) == (["job.metric"], [])
    tell(post(project_id, named).id, "job.failed")
    assert (types(one.id), types(other.id)) == (["job.metric", "job.queued"], [])
    tell(post(project_id, {"events": ["job.failed"]}).id, "job.failed")
    assert types(one.id)[2:] == types(other.id) == ["job.failed"]


def test_a_delivery_exists_exactly_when_its_event_does() -> None:
    project_id = project()
    endpoint, _ = hooks.endpoint(project_id, event_types=["job.warning"])
    job = post(project_id)
    with db.read() as session:
        events.append(session, job_id=job.id, type="job.warning", message="rolled back")
        session.flush()
    assert queued(endpoint.id) == []
    with db.transaction() as session:
        event = events.append(session, job_id=job.id, type="job.warning", message="committed")
    [delivery] = queued(endpoint.id)
    assert (delivery.event_id, delivery.job_id) == (event.id, job.id)
    assert (delivery.status, delivery.tries, delivery.lease_until) == ("pending", 0, None)


def test_messages_are_thin_and_tell_how_the_job_ended() -> None:
    claim = lives.finalizing(labels={"team": "ads"})
    job = lives.now(claim.job_id)
    endpoint, _ = hooks.endpoint(job.project_id, event_types=["job.succeeded"])
    ended = lives.ended(claim, Status.SUCCEEDED)
    [delivery] = queued(endpoint.id)
    message = json.loads(delivery.payload)
    assert message["type"] == "job.succeeded"
    assert message["timestamp"].endswith("Z")
    assert ended.adapter_id is not None
    assert message["data"] == {
        "job_id": to_public("job", job.id),
        "seq": lives.now(job.id).last_seq,
        "status": "succeeded",
        "stop_reason": ended.stop_reason,
        "adapter_id": to_public("ad", ended.adapter_id),
        "verdict": (ended.evaluation or {})["verdict"],
        "labels": {"team": "ads"},
    }


def test_labels_never_make_a_message_fat() -> None:
    project_id = project()
    endpoint, _ = hooks.endpoint(project_id, event_types=["job.created"])
    post(project_id, labels={f"label-{number}": "\u00fc" * 200 for number in range(50)})
    [delivery] = queued(endpoint.id)
    assert len(delivery.payload.encode()) < webhook_outbox.MAX_PAYLOAD_BYTES
    assert json.loads(delivery.payload)["data"]["labels"] == {}


def test_endpoints_hear_how_generations_end_in_the_transaction_that_ends_them() -> None:
    made = generation_lives.waiting()
    usual, _ = hooks.endpoint(made.project_id)
    choosy, _ = hooks.endpoint(made.project_id, event_types=["generation.failed"])
    off, _ = hooks.endpoint(made.project_id, enabled=False)
    foreign, _ = hooks.endpoint(project())
    claim = generation_lives.claimed()
    with db.read() as session:
        ended = generation_lives.result_of(claim)
        attempt = {"row_id": claim.id, "attempt": claim.attempt}
        generations.TASKS.succeed(session, **attempt, result=ended, size_bytes=1)
        session.flush()
    assert queued(usual.id) == [], "what was rolled back is told"
    generation_lives.succeeded(claim)
    [delivery] = queued(usual.id)
    assert (delivery.generation_id, delivery.job_id) == (made.id, None)
    message = json.loads(delivery.payload)
    assert message["type"] == delivery.event_type == "generation.succeeded"
    assert message["data"] == {
        "generation_id": to_public("gen", made.id),
        "status": "succeeded",
        "base_model": made.base_model,
        "adapter_id": None,
        "error": None,
    }
    generation_lives.waiting(made.project_id)
    generation_lives.failed(generation_lives.claimed(), retryable=False)
    assert types(usual.id) == ["generation.succeeded", "generation.failed"]
    [failed] = queued(choosy.id)
    assert json.loads(failed.payload)["data"]["error"] == "generator_crashed"
    assert failed.event_id == queued(usual.id)[1].event_id
    assert types(off.id) == types(foreign.id) == []


def test_an_attempt_that_is_followed_by_another_tells_nothing_and_a_cancel_does() -> None:
    made = generation_lives.waiting()
    endpoint, _ = hooks.endpoint(made.project_id)
    generation_lives.failed(generation_lives.claimed())
    assert types(endpoint.id) == []
    with db.transaction() as session:
        generations.cancel(session, project_id=made.project_id, generation_id=made.id)
    assert types(endpoint.id) == ["generation.cancelled"]
    [delivery] = queued(endpoint.id)
    assert json.loads(delivery.payload)["data"]["status"] == "cancelled"


def test_senders_are_woken_by_the_commit(database_url: str) -> None:
    project_id = project()
    hooks.endpoint(project_id)
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {webhook_outbox.CHANNEL}")
        post(project_id)
        heard = list(listener.notifies(timeout=5, stop_after=1))
    assert heard[0].payload == str(project_id)


def test_deleting_an_endpoint_never_fails_the_event_that_it_would_have_heard_of() -> None:
    project_id = project()
    endpoint, _ = hooks.endpoint(project_id)
    job = post(project_id)
    writing = threading.Thread(target=tell, args=(job.id, "job.warning"))
    with db.transaction() as session:
        webhooks.remove(session, hooks.caller(project_id), endpoint.id)
        session.flush()
        writing.start()
        writing.join(0.5)
        assert writing.is_alive(), "the event did not wait for the endpoint's end"
    writing.join(10)
    with db.read() as session:
        assert events.list_after(session, job_id=job.id)[-1].type == "job.warning"
    assert queued(endpoint.id) == []
