"""Several jobs side by side: specs, curves, results at equal spending, guards and paired videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from domain import artifacts, compare_specs, metrics
from domain.compare_at import HELDOUT, AtX, Run, at_equal_x
from domain.compare_specs import Difference, Remark
from domain.errors import NotFound
from domain.ids import to_public
from domain.job_status import TERMINAL, Status
from domain.metrics import Axis, Curve, Stretch
from domain.tables import Attempt, Job, Json, Sample
from vader_core.lines import GuardResult

FEWEST_JOBS, MOST_JOBS = 2, 8
MOST_SAMPLES = 32


@dataclass(frozen=True)
class Guards:
    """One guard of the jobs' newest evaluations; a job without it has None."""

    reward: str
    results: list[GuardResult | None]


@dataclass(frozen=True)
class SamplePair:
    """The videos of one held-out prompt and seed: the base model's, and each job's newest."""

    base: Sample | None
    videos: list[Sample]


@dataclass(frozen=True)
class Comparison:
    """Everything about the jobs, in the order that they were asked for."""

    jobs: list[Job]
    spec_diff: list[Difference]
    curves: list[Curve]
    at_equal_x: list[AtX]
    guards: list[Guards]
    samples: list[SamplePair]
    reasons: list[Remark]
    """Why the jobs cannot be compared; none: they can."""
    caveats: list[Remark]


def compare(
    session: Session,
    *,
    project_id: UUID,
    job_ids: Sequence[UUID],
    key: str,
    x: Axis,
    max_points: int,
) -> Comparison:
    """The jobs by the metric `key` over the axis `x`. Raises `NotFound` for those the project has not."""
    jobs = _jobs(session, project_id, job_ids)
    specs = [job.spec for job in jobs]
    runs = [_run(session, job.id, key) for job in jobs]
    measured = [compare_specs.measured_by(spec, key) for spec in specs]
    found = at_equal_x(runs, key=key, x=x, same_measure=all(one == measured[0] for one in measured))
    return Comparison(
        jobs=jobs,
        spec_diff=compare_specs.differences(specs),
        curves=[_curve(session, job.id, key, x, max_points) for job in jobs],
        at_equal_x=found,
        guards=_guards(jobs),
        samples=_samples(session, jobs),
        reasons=[*compare_specs.incomparable(specs, key), *_reasons_of_runs(runs, specs, key)],
        caveats=_caveats(session, jobs, found, key),
    )


def _jobs(session: Session, project_id: UUID, job_ids: Sequence[UUID]) -> list[Job]:
    query = select(Job).where(Job.project_id == project_id, Job.id.in_(job_ids))
    found = {job.id: job for job in session.scalars(query)}
    missing = [to_public("job", job_id) for job_id in job_ids if job_id not in found]
    if missing:
        raise NotFound(f"There is no job {', '.join(map(repr, missing))} in this project.")
    return [found[job_id] for job_id in job_ids]


def _run(session: Session, job_id: UUID, key: str) -> Run:
    rows = artifacts.evaluations(session, job_id=job_id)
    scored = [row.data["scores"] for row in rows if row.data.get("scores")]
    return Run(
        job_id=job_id,
        points=metrics.series(session, job_id=job_id, keys=[key]),
        evaluations=rows if key.partition(".")[0] == HELDOUT else [],
        heldout_prompts=frozenset(pair["prompt_id"] for pair in scored[-1])
        if scored
        else frozenset(),
    )


def _curve(session: Session, job_id: UUID, key: str, x: Axis, max_points: int) -> Curve:
    found = metrics.curves(
        session, job_id=job_id, keys=[key], stretch=Stretch(x), max_points=max_points
    )
    return found[0] if found else Curve(key, total=0)


def _guards(jobs: Sequence[Job]) -> list[Guards]:
    by_job = [_guards_of(job.evaluation) for job in jobs]
    names = dict.fromkeys(name for guards in by_job for name in guards)
    return [Guards(name, [guards.get(name) for guards in by_job]) for name in names]


def _guards_of(evaluation: Json | None) -> dict[str, GuardResult]:
    told = [] if evaluation is None else evaluation["guards"]
    guards = [GuardResult.model_validate(guard) for guard in told]
    return {guard.reward: guard for guard in guards}


def _samples(session: Session, jobs: Sequence[Job]) -> list[SamplePair]:
    """The videos of the pairs that every job has kept one of."""
    query = select(Sample).where(Sample.job_id.in_([job.id for job in jobs]))
    base: dict[tuple[str, int], Sample] = {}
    newest: dict[UUID, dict[tuple[str, int], Sample]] = {job.id: {} for job in jobs}
    for sample in session.scalars(query.order_by(Sample.step, Sample.pair)):
        pair = sample.prompt_id, sample.seed
        if sample.role == "base":
            base.setdefault(pair, sample)
        else:
            newest[sample.job_id][pair] = sample
    shared = [pair for pair in newest[jobs[0].id] if all(pair in newest[job.id] for job in jobs)]
    return [
        SamplePair(base.get(pair), [newest[job.id][pair] for job in jobs])
        for pair in sorted(shared)[:MOST_SAMPLES]
    ]


def _reasons_of_runs(runs: Sequence[Run], specs: Sequence[Json], key: str) -> list[Remark]:
    """What of the runs themselves stands against comparing them.

    Held-out prompts are looked at whatever the metric: by those that were scored, and by the specs where
    a job was not evaluated yet.
    """
    if not all(run.points for run in runs):
        without = ", ".join(to_public("job", run.job_id) for run in runs if not run.points)
        return [Remark(code="no_values", detail=f"There is no `{key}` of {without} yet.")]
    prompts = [run.heldout_prompts for run in runs]
    if not all(prompts):
        if compare_specs.same_prompts(specs, "heldout"):
            return []
        detail = "Their specs name other held-out prompts."
        return [Remark(code="different_heldout_prompts", detail=detail)]
    if all(one == prompts[0] for one in prompts):
        return []
    shared, together = frozenset.intersection(*prompts), frozenset.union(*prompts)
    detail = f"Their held-out prompts differ: {len(shared)} of {len(together)} are shared."
    return [Remark(code="different_heldout_prompts", detail=detail)]


def _caveats(
    session: Session, jobs: Sequence[Job], places: Sequence[AtX], key: str
) -> list[Remark]:
    caveats: list[tuple[str, str]] = []
    going_on = [to_public("job", job.id) for job in jobs if Status(job.status) not in TERMINAL]
    if going_on:
        caveats.append(
            ("not_ended", f"Still going on, so values may change: {', '.join(going_on)}.")
        )
    if key.partition(".")[0] != HELDOUT:
        caveats.append(
            (
                "no_interval",
                f"Single scores are stored of `{HELDOUT}` only: no interval for `{key}`.",
            )
        )
    if any(place.basis == "unpaired" for place in places):
        detail = "No held-out video is shared: the interval is Welch's over prompts, and wider than paired."
        caveats.append(("unpaired", detail))
    if any(measured < place.x for place in places for measured in place.measured_at):
        detail = "Some values were measured before `x` and not at it; `measured_at` says where."
        caveats.append(("measured_earlier", detail))
    if not _alike(_environments(session, jobs)):
        detail = "They ran on different devices, precisions or library versions."
        caveats.append(("different_environments", detail))
    caveats.append(
        (
            "one_run_each",
            "Intervals cover the luck of held-out prompts and not that of training: another training seed "
            "may give another result.",
        )
    )
    return [Remark(code=code, detail=detail) for code, detail in caveats]


def _environments(session: Session, jobs: Sequence[Job]) -> list[object]:
    """What the newest attempt of each job that had one told of its device, precision and libraries."""
    query = select(Attempt).where(Attempt.job_id.in_([job.id for job in jobs]))
    newest: Mapping[UUID, Attempt] = {
        row.job_id: row for row in session.scalars(query.order_by(Attempt.number))
    }
    told = [newest[job.id].environment for job in jobs if job.id in newest]
    names = ("device", "precision", "versions")
    return [[one.get(name) for name in names] for one in told if one is not None]


def _alike(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)
