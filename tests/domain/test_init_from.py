from __future__ import annotations

from typing import get_args

import pytest
from sqlalchemy import update

from domain import artifacts, db, init_from
from domain.ids import to_public
from domain.init_from import Resolved
from domain.tables import Job
from tests import lives
from vader_core.lines import EarlyEnd
from vader_core.spec import EarlyStop, InitFrom

pytestmark = pytest.mark.usefixtures("settings")
RULE = {"metric": "guards", "patience_evals": 2}
GUARDS = [{"reward": "tiny-action", "min_ratio_to_base": 0.5}]


def continued(job: Job, *, patience_evals: int) -> Resolved:
    """What a job of the same spec finds that goes on from the newest full state of `job`."""
    with db.read() as session:
        newest = artifacts.checkpoints(session, job_id=job.id).items[0]
        start = InitFrom(checkpoint=to_public("ck", newest.id), state="full")
        spec = init_from.readable(job.spec)
        rule = EarlyStop.model_validate({**RULE, "patience_evals": patience_evals})
        spec = spec.model_copy(update={"init_from": start, "early_stop": rule})
        return init_from.resolve(session, project_id=job.project_id, spec=spec, hold=False)


@pytest.mark.parametrize("reason", get_args(EarlyEnd))
def test_a_rule_that_ended_a_run_would_end_it_again_at_once(reason: str) -> None:
    job = lives.succeeded(early_stop=RULE, evaluation={"every_steps": 5}, guards=GUARDS)
    assert "would_stop_at_once" not in codes(continued(job, patience_evals=2))
    with db.transaction() as session:
        session.execute(update(Job).where(Job.id == job.id).values(stop_reason=reason))
    assert "would_stop_at_once" in codes(continued(lives.now(job.id), patience_evals=2))
    assert "would_stop_at_once" not in codes(continued(lives.now(job.id), patience_evals=3))


def codes(found: Resolved) -> dict[str, str]:
    return {fault.code: fault.pointer for fault in found.faults}
