"""Jobs that were asked for by REST, carried through by a worker's functions with real stored files."""

from __future__ import annotations

from domain import artifacts, db
from domain.claims import Claim
from domain.job_status import Status
from domain.store import ObjectStore
from tests import lives, trainer_lines
from vader_core.lines import EvaluationDone

VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8
WEIGHTS = b"weights" * 100


def start() -> Claim:
    """The next waiting job, running."""
    claim = lives.claimed()
    lives.told(claim, trainer_lines.started(), trainer_lines.phase("training"))
    return claim


def succeed(store: ObjectStore, *, evaluation: EvaluationDone | None = None) -> Claim:
    """The next waiting job, ended well after 20 steps, all of its files in `store`."""
    claim = start()
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    prefix = artifacts.attempt_prefix(claim.job_id, claim.attempt)
    lives.told(claim, trainer_lines.evaluation(kind="base", step=0, reward=0.5))
    lives.told(claim, *(trainer_lines.step(number) for number in range(1, 21)))
    lives.checkpointed(claim, (10, 20))
    done = trainer_lines.done()
    lives.told(claim, evaluation or trainer_lines.evaluation(), done)
    with db.transaction() as session:
        for role in ("base", "adapter"):
            line = trainer_lines.sample(role=role)
            key = f"{prefix}/{line.file.path}"
            store.put_if_absent(key, VIDEO, content_type="video/mp4")
            artifacts.add_sample(session, **holder, line=line, key=key)
        store.put_if_absent(f"{prefix}/sheet.png", b"a sheet", content_type="image/png")
        artifacts.add_sheet(
            session, **holder, line=trainer_lines.sheet(), key=f"{prefix}/sheet.png"
        )
        for file in done.files:
            store.put_if_absent(f"{prefix}/{file.path}", WEIGHTS, content_type="application/json")
        artifacts.add_adapter(session, **holder, line=done, prefix=f"{prefix}/adapter")
    lives.ended(claim, Status.SUCCEEDED)
    return claim
