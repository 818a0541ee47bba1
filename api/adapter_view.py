"""From the rows of adapters to the shapes that clients see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from api.schemas.adapters import (
    AdapterEvaluation,
    AdapterFile,
    AdapterShape,
    AdapterSummary,
    AliasShape,
    Ancestor,
    Lineage,
)
from domain import adapter_registry, ids, lineage
from domain.adapter_tables import AdapterAlias
from domain.tables import Adapter, Evaluation, Job
from vader_core.lines import EvaluationDone


def whole(session: Session, adapter: Adapter) -> AdapterShape:
    """One adapter with everything."""
    job = adapter_registry.jobs_of(session, [adapter])[adapter.job_id]
    aliases = adapter_registry.aliases_of(session, [adapter.id])
    evaluation = lineage.evaluations(session, [adapter]).get(adapter.id)
    public_id = ids.to_public("ad", adapter.id)
    base = f"/v1/adapters/{public_id}/files/"
    files = [
        AdapterFile.model_validate({**file, "url": base + quote(file["path"])})
        for file in adapter.files
    ]
    return AdapterShape(
        **_summary(adapter, job, aliases.get(adapter.id, []), evaluation),
        files=files,
        lineage=_lineage(session, adapter, job),
    )


def summaries(session: Session, adapters: Sequence[Adapter]) -> list[AdapterSummary]:
    """The adapters without files and lineage, as lists show them."""
    jobs = adapter_registry.jobs_of(session, adapters)
    aliases = adapter_registry.aliases_of(session, [adapter.id for adapter in adapters])
    evaluations = lineage.evaluations(session, adapters)
    return [
        AdapterSummary(
            **_summary(
                adapter,
                jobs[adapter.job_id],
                aliases.get(adapter.id, []),
                evaluations.get(adapter.id),
            )
        )
        for adapter in adapters
    ]


def alias(row: AdapterAlias) -> AliasShape:
    """One alias."""
    return AliasShape(
        name=row.name,
        adapter_id=ids.to_public("ad", row.adapter_id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _summary(
    adapter: Adapter, job: Job, aliases: list[str], evaluation: Evaluation | None
) -> dict[str, Any]:
    checkpoint_id = adapter.checkpoint_id
    return {
        "id": ids.to_public("ad", adapter.id),
        "name": job.name,
        "kind": adapter.kind,
        "job_id": ids.to_public("job", job.id),
        "checkpoint_id": None if checkpoint_id is None else ids.to_public("ck", checkpoint_id),
        "step": adapter.step,
        "attempt": adapter.attempt,
        "base_model": job.base_model,
        "method": job.method,
        "rank": job.spec["adapter"]["rank"],
        "alpha": job.spec["adapter"]["alpha"],
        "rewards": job.rewards,
        "verdict": None if evaluation is None else evaluation.verdict,
        "evaluation": None if evaluation is None else _evaluation(evaluation),
        "aliases": aliases,
        "size_bytes": adapter.size_bytes,
        "created_at": adapter.created_at,
        "deleted_at": job.deleted_at,
    }


def _evaluation(row: Evaluation) -> AdapterEvaluation:
    line = EvaluationDone.model_validate(row.data)
    return AdapterEvaluation.model_validate(
        {
            "kind": row.kind,
            "verdict": row.verdict,
            "heldout_reward": line.heldout_reward,
            "baseline_heldout_reward": line.baseline_heldout_reward,
            "delta": None if line.difference is None else line.difference.delta,
            "delta_ci95": None if line.difference is None else line.difference.delta_ci95,
        }
    )


def _lineage(session: Session, adapter: Adapter, job: Job) -> Lineage:
    spec, attempt = job.spec, lineage.attempt_of(session, adapter)
    return Lineage(
        base_model=job.base_model,
        variant=spec["variant"],
        job_id=ids.to_public("job", job.id),
        spec_hash=job.spec_hash,
        step=adapter.step,
        attempt=adapter.attempt,
        method=job.method,
        rewards=job.rewards,
        guards=[guard["reward"] for guard in spec["guards"] or []],
        prompt_set=spec["prompts"]["prompt_set"],
        template=job.template,
        seed=spec["seed"],
        evaluation_seeds=spec["evaluation"]["seeds"],
        code_version=attempt.code_version,
        versions=(attempt.environment or {}).get("versions", {}),
        ancestors=[_ancestor(link) for link in lineage.ancestors(session, job)],
    )


def _ancestor(link: lineage.Link) -> Ancestor:
    start = link.start or {}
    return Ancestor.model_validate(
        {
            "job_id": ids.to_public("job", link.job_id),
            "relation": link.relation,
            "start": start.get("kind"),
            "start_id": start.get("id"),
            "step": start.get("step"),
            "state": start.get("state"),
        }
    )
