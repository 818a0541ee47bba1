"""Answers of the service in their least form."""

from __future__ import annotations

from collections.abc import Mapping

JOB_ID = "job_01kax4b7c8d9e0f1g2h3j4k5m6"


def job_body(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "id": JOB_ID,
        "status": "queued",
        "phase": "queued",
        "terminal": False,
        "created_at": "2026-11-23T10:00:00Z",
    }
    return {**body, **changes}


def event_body(
    seq: int,
    kind: str,
    *,
    at: str = "2026-11-23T10:00:00Z",
    step: int | None = None,
    data: Mapping[str, object] | None = None,
) -> dict[str, object]:
    return {
        "id": f"evt_{seq}",
        "job_id": JOB_ID,
        "seq": seq,
        "type": f"job.{kind}",
        "at": at,
        "step": step,
        "data": data or {},
    }


def upload_body(number: int = 1, **changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "id": f"upl_{number}",
        "name": "a.png",
        "medium": "image",
        "content_type": "image/png",
        "size_bytes": 5,
        "sha256": "0" * 64,
        "created_at": "2026-11-23T10:00:00Z",
    }
    return {**body, **changes}


def reward_body(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "id": "tiny-action",
        "name": "tiny-action@1",
        "title": "Action",
        "kind": "action",
        "differentiable": True,
        "per": "video",
        "range": [0, None],
        "needs_target": True,
        "targets": ["moving left", "moving up"],
        "params_schema": {"type": "object", "properties": {"object": {"type": "string"}}},
        "weights": {
            "repo": "org/name",
            "revision": "unpinned",
            "licence": "MIT",
            "installed": False,
        },
        "source": "arXiv 2407.08737",
    }
    return {**body, **changes}


def method_body(**changes: object) -> dict[str, object]:
    settings = {
        "type": {"const": "grpo"},
        "group_size": {
            "type": "integer",
            "minimum": 2,
            "default": 8,
            "description": "Videos of a prompt.",
        },
        "lr_schedule": {"enum": ["constant", "cosine"], "default": "constant"},
        "train_steps": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        "frames": {"$ref": "#/$defs/Frames", "default": {"mode": "all"}},
        "relative_prompt": {"anyOf": [{"$ref": "#/$defs/RelativePrompt"}, {"type": "null"}]},
    }
    parts = {
        "Frames": {"properties": {"n": {"type": "integer", "description": "How many."}}},
        "RelativePrompt": {"properties": {"wanted": {"type": "string"}}},
    }
    body: dict[str, object] = {
        "id": "grpo",
        "title": "Flow-GRPO",
        "summary": "Policy gradient within groups.",
        "needs_differentiable_reward": False,
        "settings_schema": {"type": "object", "properties": settings, "$defs": parts},
        "paper": "arXiv 2505.05470",
    }
    return {**body, **changes}


def base_model_body(**changes: object) -> dict[str, object]:
    steps = {"minimum": 16, "maximum": 64, "multiple": 8, "offset": 0, "values": []}
    body: dict[str, object] = {
        "id": "tiny-wan",
        "name": "tiny-wan@1",
        "title": "Tiny Wan",
        "family": "wan",
        "needs_image": True,
        "weights": {"repo": None, "revision": "built-in", "licence": "MIT", "installed": True},
        "limits": {"width": steps, "num_frames": {**steps, "values": [9, 17]}},
        "defaults": {"width": 32, "height": 32, "num_frames": 9},
        "variants": {"fast": {"title": "Four steps"}},
    }
    return {**body, **changes}


def scoring_body(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "id": "scr_1",
        "status": "queued",
        "terminal": False,
        "reward": {"name": "tiny-action@1", "title": "Action", "per": "video", "range": [0, 1]},
        "videos": [{"upload": "upl_1", "sample": None, "prompt": "a red square"}],
        "scores": None,
        "created_at": "2026-11-23T10:00:00Z",
    }
    return {**body, **changes}


def plan_body(**changes: object) -> dict[str, object]:
    unknown = {"basis": "unknown", "p50": None, "p90": None}
    estimate = {
        "basis": "unknown",
        "similar_runs": 0,
        "steps": 60,
        "reward_queries": {"basis": "analytic", "train": 240, "evaluation": 32},
        "gpu_seconds": unknown,
        "wall_clock_s": unknown,
        "queue_wait_s": unknown,
        "vram_gib": {"basis": "unknown", "peak": None, "at_least": 2.5, "breakdown": None},
        "hardware": [],
        "storage_gib": {"basis": "unknown", "total": None},
        "cost": {**unknown, "currency": "USD"},
        "first_ceiling": unknown,
    }
    body: dict[str, object] = {
        "valid": True,
        "spec_hash": "sha256:" + "1" * 64,
        "resolved_spec": {"base_model": "tiny-unet@1"},
        "template": None,
        "estimate": estimate,
        "quota": {"running_jobs": 0, "queued_jobs": 0, "would_start": "now"},
        "warnings": [],
    }
    return {**body, **changes}
