"""What every route needs: its scope, what stands in its path, and a body that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.factories import PROMPTS, document

ANYBODY = frozenset(
    {
        *(
            "GET /livez",
            "GET /readyz",
            "GET /metrics",
            "GET /llms.txt",
            "GET /openapi.json",
            "GET /docs",
        ),
        *("GET /docs/{name}", "GET /problems/{kind}"),
        # Their links are signed.
        "GET /v1/objects/{key}",
        *("POST /v1/sessions", "POST /v1/invitations/accept"),
    }
)
"""Routes that need no credential."""


@dataclass(frozen=True)
class Row:
    """`scope` None: any credential will do. `as_member`: only a session can ask for it."""

    scope: str | None
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    as_member: bool = False


_PROMPTS = {"name": "ways", "prompts": PROMPTS}
_GENERATION = {"base_model": "tiny-unet", "prompt": "a red circle moving left"}
_TEMPLATE = {"name": "small", "spec": document()}
_ENDPOINT = {"url": "https://example.com/hook"}
_ANY_VERSION = {"If-Match": "*"}
_PNG = {"Content-Type": "image/png"}

ROWS: dict[str, Row] = {
    # The catalogue is everybody's.
    **{
        f"GET /v1/{path}": Row(None)
        for path in (
            *("base-models", "base-models/{base_model_id}", "rewards", "rewards/{reward_id}"),
            *("methods", "methods/{method_id}", "me"),
        )
    },
    **{
        f"GET /v1/{path}": Row("jobs:read")
        for path in (
            *("jobs", "jobs/{job_id}", "job-transitions", "events", "prompt-sets"),
            *("prompt-sets/{prompt_set_id}", "prompt-sets/{prompt_set_id}/prompts"),
            *("job-templates", "job-templates/{template_id}", "scorings/{scoring_id}"),
            *("generations", "generations/{generation_id}", "adapters", "adapters/{adapter_id}"),
            *("adapter-aliases", "adapter-aliases/{name}"),
        )
    },
    **{
        f"GET /v1/jobs/{{job_id}}/{path}": Row("jobs:read")
        for path in (
            *("attempts", "checkpoints", "checkpoints/{checkpoint_id}", "evaluation"),
            *("events", "logs", "metrics", "samples"),
        )
    },
    "GET /v1/jobs/compare": Row("jobs:read", query={"ids": "{job_id},{waiting_job_id}"}),
    **{
        f"GET /v1/{path}": Row("artifacts:read")
        for path in (
            *("uploads", "uploads/{upload_id}", "jobs/{job_id}/sheet"),
            *("adapters/{adapter_id}/files", "adapters/{adapter_id}/files/{path}"),
            "samples/{sample_id}/video",
        )
    },
    **{
        f"GET /v1/{path}": Row("webhooks:write")
        for path in (
            *("webhook-endpoints", "webhook-endpoints/{endpoint_id}"),
            *("webhook-endpoints/{endpoint_id}/deliveries", "deliveries/{delivery_id}"),
        )
    },
    **{f"GET /v1/{path}": Row("usage:read") for path in ("usage", "quotas")},
    **{
        f"GET /v1/{path}": Row("keys:write")
        for path in ("api-keys", "api-keys/{api_key_id}", "members", "members/{member_id}")
    },
    "GET /v1/audit-log": Row("audit:read"),
    "GET /v1/sessions": Row(None, as_member=True),
    # What changes something.
    "POST /v1/jobs": Row("jobs:write", document()),
    "POST /v1/jobs/dry-run": Row("jobs:write", document()),
    "POST /v1/jobs/batch-cancel": Row(
        "jobs:write", {"ids": ["{waiting_job_id}"], "expected_count": 1}
    ),
    "PATCH /v1/jobs/{job_id}": Row("jobs:write", {"labels": {"team": "ads"}}, headers=_ANY_VERSION),
    **{
        f"POST /v1/jobs/{{waiting_job_id}}/{verb}": Row("jobs:write")
        for verb in ("pause", "resume", "cancel")
    },
    "POST /v1/jobs/{job_id}/retry": Row("jobs:write"),
    "POST /v1/jobs/{job_id}/extend": Row("jobs:write", {"add_budget": {"max_steps": 5}}),
    "POST /v1/jobs/{job_id}/checkpoints/{checkpoint_id}/promote": Row("adapters:write"),
    "POST /v1/prompt-sets": Row("prompt_sets:write", _PROMPTS),
    "POST /v1/prompt-sets/validate": Row("prompt_sets:write", _PROMPTS),
    "POST /v1/uploads": Row("uploads:write", b"\x89PNG\r\n\x1a\npixels", headers=_PNG),
    "POST /v1/job-templates": Row("templates:write", _TEMPLATE),
    "PATCH /v1/job-templates/{template_id}": Row(
        "templates:write", {"description": "Small."}, headers=_ANY_VERSION
    ),
    "POST /v1/rewards/{reward_id}/score": Row(
        "jobs:write", {"videos": [{"sample": "{sample_id}", "prompt": "a red circle moving left"}]}
    ),
    "POST /v1/generations": Row("generations:write", _GENERATION),
    "POST /v1/generations/{generation_id}/cancel": Row("generations:write"),
    "PUT /v1/adapters/{adapter_id}/aliases/{name}": Row("adapters:write"),
    "POST /v1/stream-tokens": Row("jobs:read", {"job": "{job_id}"}),
    "POST /v1/webhook-endpoints": Row("webhooks:write", _ENDPOINT),
    "PATCH /v1/webhook-endpoints/{endpoint_id}": Row(
        "webhooks:write", {"description": "ours"}, headers=_ANY_VERSION
    ),
    "POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret": Row("webhooks:write"),
    "POST /v1/webhook-endpoints/{endpoint_id}/test": Row("webhooks:write"),
    "POST /v1/deliveries/{delivery_id}/redeliver": Row("webhooks:write"),
    "POST /v1/api-keys": Row("keys:write", {"name": "ci", "scopes": ["jobs:read"]}),
    "PATCH /v1/api-keys/{api_key_id}": Row("keys:write", {"name": "ci-2"}),
    "POST /v1/members": Row("keys:write", {"email": "new@example.com", "name": "New"}),
    "PATCH /v1/members/{member_id}": Row("keys:write", {"name": "Viewer"}),
    "POST /v1/members/{member_id}/invitation": Row("keys:write"),
    # What removes something comes last: the rows above need it.
    "DELETE /v1/adapters/{adapter_id}/aliases/{name}": Row("adapters:write"),
    "DELETE /v1/generations/{generation_id}": Row("generations:write"),
    "DELETE /v1/job-templates/{template_id}": Row("templates:write"),
    "DELETE /v1/webhook-endpoints/{endpoint_id}": Row("webhooks:write"),
    "DELETE /v1/uploads/{upload_id}": Row("uploads:write"),
    "DELETE /v1/prompt-sets/{prompt_set_id}": Row("prompt_sets:write"),
    "DELETE /v1/jobs/{job_id}": Row("jobs:write"),
    "DELETE /v1/sessions/{session_id}": Row(None),
    "DELETE /v1/sessions/current": Row(None, as_member=True),
    "DELETE /v1/members/{member_id}": Row("keys:write"),
    "DELETE /v1/api-keys/{api_key_id}": Row("keys:write"),
}
"""Every other route, as `METHOD path`. `{waiting_job_id}` is a `{job_id}`, of a job that waits."""

OF_EVERYBODY = frozenset({"base_model_id", "reward_id", "method_id"})
"""Names in paths that belong to no project."""


def as_declared(name: str) -> str:
    """The row's name as the app declares the route."""
    return name.replace("{waiting_job_id}", "{job_id}")
