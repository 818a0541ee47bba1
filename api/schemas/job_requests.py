"""What clients send to ask for a job, or for a dry run of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, RootModel

from domain.successors import Extension
from vader_core.spec import JobSpec, Money
from vader_core.strict import Strict


class Notify(Strict):
    """Who hears of the job by webhooks: these endpoints (left out: all of the project), of these types of
    events (left out: of those that each endpoint asks for)."""

    webhook_endpoints: Annotated[
        list[str] | None, Field(min_length=1, max_length=100, examples=[["we_01kax2q3n4p5r6"]])
    ] = None
    events: Annotated[
        list[str] | None, Field(min_length=1, max_length=100, examples=[["job.succeeded"]])
    ] = None


class Expect(Strict):
    """What a dry run said: where it no longer holds, nothing is created.

    `spec_hash` is that of the resolved spec. `max_estimated_cost` is compared with the estimate's p50; a job
    whose cost cannot be estimated is refused too.
    """

    spec_hash: Annotated[str | None, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = None
    max_estimated_cost: Money | None = None


class Wishes(Strict):
    """What is asked of the service besides the spec itself."""

    notify: Notify | None = None
    expect: Expect | None = None


class JobFromSpec(Wishes, JobSpec):
    """A job by its whole spec."""


class JobFromTemplate(Wishes):
    """A job by a template and what is different this time."""

    template: Annotated[
        str,
        Field(
            description="A job template: `tpl_...@2` for one version, `tpl_...` for the newest.",
            examples=["tpl_01kax4b7c8d9e0f1g2h3j4k5m6@2"],
        ),
    ]
    overrides: Annotated[
        dict[str, JsonValue],
        Field(description="A JSON merge patch (RFC 7396) onto the template's spec."),
    ] = {}


class ExtensionRequest(Wishes, Extension):
    """How a job goes on: `from` its best or last checkpoint or one by its id, with its full state or its
    weights alone; `overrides` are a JSON merge patch (RFC 7396) onto its spec. Without `notify` those are
    told who were told of the first."""


class JobRequest(RootModel[JobFromSpec | JobFromTemplate]):
    """A job as it is asked for: by its spec, or by a template with overrides."""
