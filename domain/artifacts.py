"""What a job yields besides numbers: samples, contact sheet, checkpoints, logs and the adapter.

A worker stores the files first and then adds the row, by which alone readers find them; the row is
refused when the attempt lost its lease, so a stale worker's files are never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain import adapters, best_checkpoint, events, init_from, jobs, logs, pages
from domain.errors import NotFound
from domain.ids import new_id, to_public
from domain.pages import Page
from domain.tables import Adapter, Attempt, Checkpoint, Evaluation, Job, Json, Sample
from vader_core import lines


@dataclass(frozen=True)
class GivenUp:
    """A checkpoint whose objects are to go: all below the key `prefix`, but not those below `kept`."""

    prefix: str
    kept: str | None


def job_prefix(job_id: UUID) -> str:
    """The object key under which all files of a job lie; it does not end in a slash."""
    return f"jobs/{to_public('job', job_id)}"


def attempt_prefix(job_id: UUID, attempt: int) -> str:
    """The object key under which all files of an attempt lie; it does not end in a slash."""
    return f"{job_prefix(job_id)}/attempts/{attempt}"


def manifest_key(job_id: UUID, attempt: int) -> str:
    """The object key of the list of files that an attempt published with its adapter."""
    return f"{attempt_prefix(job_id, attempt)}/manifest.json"


def add_sample(
    session: Session, *, job_id: UUID, attempt: int, line: lines.Sample, key: str
) -> Sample:
    """Makes the stored video at `key` visible."""
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    place = {"job_id": job_id, "step": line.step, "pair": line.pair, "role": line.role}
    values = {
        "attempt": attempt,
        "prompt_id": line.prompt_id,
        "prompt": line.prompt,
        "seed": line.seed,
        "score": line.score,
        "key": key,
        "sha256": line.file.sha256,
        "size_bytes": line.file.size_bytes,
    }
    row = insert(Sample).values(id=new_id(), **place, **values)
    written = row.on_conflict_do_update(index_elements=list(place), set_=values)
    sample: Sample = session.scalars(
        written.returning(Sample), execution_options={"populate_existing": True}
    ).one()
    job.version += 1
    told = {"sample_id": to_public("smp", sample.id), "role": line.role, "pair": line.pair}
    _tell(session, job, "job.sample_ready", f"A video of the {line.role} is stored.", told, line)
    return sample


def add_sheet(session: Session, *, job_id: UUID, attempt: int, line: lines.Sheet, key: str) -> None:
    """Makes the stored contact sheet at `key` the job's."""
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    job.sheet = _object(key, size_bytes=line.file.size_bytes, sha256=line.file.sha256)
    job.version += 1


def add_checkpoint(
    session: Session, *, job_id: UUID, attempt: int, line: lines.Checkpoint, prefix: str
) -> Checkpoint:
    """Makes the checkpoint folder stored at the key `prefix` the one to go on from."""
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    files = _below(line.path, line.files)
    values = {
        "attempt": attempt,
        "prefix": prefix,
        "files": files,
        "size_bytes": sum(file["size_bytes"] for file in files),
        "counters": line.counters.model_dump(mode="json"),
        "expired_at": None,
    }
    row = insert(Checkpoint).values(id=new_id(), job_id=job_id, step=line.step, **values)
    written = row.on_conflict_do_update(
        index_elements=[Checkpoint.job_id, Checkpoint.step], set_=values
    )
    checkpoint: Checkpoint = session.scalars(
        written.returning(Checkpoint), execution_options={"populate_existing": True}
    ).one()
    job.version += 1
    told = {"checkpoint_id": to_public("ck", checkpoint.id), "size_bytes": checkpoint.size_bytes}
    _tell(session, job, "job.checkpoint_saved", "A checkpoint is stored.", told, line)
    return checkpoint


def prune_checkpoints(
    session: Session, *, job_id: UUID, attempt: int, keep_last: int, keep_best: bool = True
) -> list[GivenUp]:
    """Gives up all but the newest `keep_last` checkpoints; the caller deletes their objects after the commit.

    With `keep_best`, the one that did best in the evaluation at its step is kept besides. Those that a job starts from which has not ended are kept too, and an adapter that was promoted from one
    keeps its files.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    kept = Checkpoint.job_id == job_id, Checkpoint.expired_at.is_(None)
    needed = init_from.checkpoints_needed(session, project_id=job.project_id)
    newest = select(Checkpoint.id).where(*kept).order_by(Checkpoint.step.desc()).limit(keep_last)
    best = best_checkpoint.ranked(select(Checkpoint.id), job_id).limit(1 if keep_best else 0)
    given_up = (
        update(Checkpoint)
        .where(*kept, Checkpoint.id.not_in([*session.scalars(best), *needed]))
        .where(Checkpoint.id.not_in(newest))
        .values(expired_at=func.clock_timestamp())
        .returning(Checkpoint.prefix, Checkpoint.id)
        .execution_options(synchronize_session=False)
    )
    rows = session.execute(given_up).all()
    if rows:
        # What the job shows as its best, and what may be done with it, may be another now.
        job.version += 1
    promoted = select(Adapter.checkpoint_id, Adapter.prefix).where(
        Adapter.checkpoint_id.in_([row.id for row in rows])
    )
    kept_below = {row.checkpoint_id: row.prefix for row in session.execute(promoted)}
    return [GivenUp(row.prefix, kept_below.get(row.id)) for row in rows]


def set_aside(session: Session, *, job_id: UUID, attempt: int, step: int, message: str) -> None:
    """Gives up a checkpoint whose stored bytes turned out not to be those of its record, and warns of it.

    So it is neither tried again, nor kept in place of a whole one, nor made the job's adapter. Its objects
    stay until what attempts left behind is swept.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    session.execute(
        update(Checkpoint)
        .where(
            Checkpoint.job_id == job_id, Checkpoint.step == step, Checkpoint.expired_at.is_(None)
        )
        .values(expired_at=func.clock_timestamp())
        .execution_options(synchronize_session="fetch")
    )
    job.version += 1
    told = {"code": "checkpoint_corrupt"}
    events.append(session, job_id=job_id, type="job.warning", message=message, data=told, step=step)


def add_adapter(
    session: Session, *, job_id: UUID, attempt: int, line: lines.Done, prefix: str
) -> Adapter:
    """Makes the adapter folder stored at the key `prefix` the job's, in place of an earlier one.

    Its step is the one that an early stop went back to, where one did, and else the last.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    files = _below(line.path, line.files)
    final = job.evaluation if job.evaluation and job.evaluation["kind"] == "final" else {}
    gone_back_to = final.get("adapter_step")
    step = line.step if gone_back_to is None else gone_back_to
    return adapters.publish(session, job, step=step, prefix=prefix, files=files)


def add_log(session: Session, *, job_id: UUID, attempt: int, key: str, file: lines.File) -> None:
    """Notes where the attempt's log is stored; its pieces of before are dropped."""
    jobs.held(session, job_id=job_id, attempt=attempt)
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.number == attempt)
        .values(log=_object(key, size_bytes=file.size_bytes, sha256=file.sha256))
    )
    logs.forget(session, job_id=job_id, attempt=attempt)
    events.announce(session, job_id)


def samples(
    session: Session, *, job_id: UUID, step: int | None = None, prompt_id: str | None = None
) -> list[Sample]:
    """The job's videos by step and pair, base before adapter."""
    query = select(Sample).where(Sample.job_id == job_id)
    if step is not None:
        query = query.where(Sample.step == step)
    if prompt_id is not None:
        query = query.where(Sample.prompt_id == prompt_id)
    return list(session.scalars(query.order_by(Sample.step, Sample.pair, Sample.role.desc())))


def sample(session: Session, *, project_id: UUID, sample_id: UUID) -> Sample:
    """The sample. Raises `NotFound`, also for another project's."""
    query = select(Sample).join(Job).where(Sample.id == sample_id, Job.project_id == project_id)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"There is no sample {to_public('smp', sample_id)!r} in this project.")
    return found


def checkpoints(
    session: Session, *, job_id: UUID, cursor: str | None = None, limit: int = 100
) -> Page[Checkpoint]:
    """The job's checkpoints, newest first, also those whose files are gone. Raises `InvalidCursor`."""
    list_name = f"checkpoints {job_id}"
    query = select(Checkpoint).where(Checkpoint.job_id == job_id)
    if cursor is not None:
        query = query.where(Checkpoint.step < pages.number_of(cursor, list_name))
    rows = list(session.scalars(query.order_by(Checkpoint.step.desc()).limit(limit + 1)))
    more = len(rows) > limit
    return Page(rows[:limit], pages.encoded([rows[limit - 1].step], list_name) if more else None)


def checkpoint(session: Session, *, job_id: UUID, checkpoint_id: UUID) -> Checkpoint:
    """The job's checkpoint. Raises `NotFound`, also for another job's."""
    found = session.get(Checkpoint, checkpoint_id)
    if found is None or found.job_id != job_id:
        raise NotFound(f"There is no checkpoint {to_public('ck', checkpoint_id)!r} in this job.")
    return found


def evaluations(session: Session, *, job_id: UUID) -> list[Evaluation]:
    """The job's evaluations in the order they were made."""
    query = select(Evaluation).where(Evaluation.job_id == job_id)
    return list(session.scalars(query.order_by(Evaluation.step, Evaluation.created_at)))


def attempts(session: Session, *, job_id: UUID) -> list[Attempt]:
    """The job's attempts, the first first."""
    query = select(Attempt).where(Attempt.job_id == job_id)
    return list(session.scalars(query.order_by(Attempt.number)))


def adapter_of(session: Session, *, job_id: UUID) -> Adapter | None:
    """The adapter that the job ended with, if it has one."""
    query = select(Adapter).where(Adapter.job_id == job_id, Adapter.kind == "final")
    return session.scalar(query)


def _below(folder: str, files: Sequence[lines.File]) -> list[Json]:
    return [
        {
            "path": file.path.removeprefix(f"{folder}/"),
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
        }
        for file in files
    ]


def _object(key: str, *, size_bytes: int, sha256: str) -> Json:
    return {"key": key, "size_bytes": size_bytes, "sha256": sha256}


def _tell(
    session: Session, job: Job, kind: str, message: str, data: Json, line: lines.Line
) -> None:
    events.append(session, job_id=job.id, type=kind, message=message, data=data, step=line.step)
