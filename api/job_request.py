"""A document that asks for a job, checked in every respect at once.

It is a whole spec, or a template with overrides, and besides that says who is to be told and what is
expected. Pointers of faults lead into the document as the client sent it.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue, ValidationError
from sqlalchemy.orm import Session

from api.documents import Model, storage_faults
from api.field_hints import with_hint
from api.image_faults import image_faults
from api.merged_faults import as_sent
from api.schemas.job_requests import Expect, JobFromTemplate, Notify, Wishes
from domain import budgets, event_types, ids, init_from, prompt_sets, templates, webhooks
from domain.db import utc_now
from domain.errors import NotFound, ValidationFailed
from domain.estimates import Asked
from domain.jobs import Ties
from domain.merge_patch import merged
from domain.settings import get_settings
from domain.tables import Json
from domain.templates import Found
from vader_core.catalogue import Catalogue
from vader_core.faults import Fault, InvalidSpec, not_in_set, shape_faults
from vader_core.plan import Done
from vader_core.resolve import check
from vader_core.spec import Budget, JobSpec, Prompt

_OF_TEMPLATE = ("template", "overrides")
_BESIDES = (*_OF_TEMPLATE, *Wishes.model_fields)


@dataclass(frozen=True)
class AskedJob:
    """A job that may be made: `document` as it was sent, and what it means. `expect` is not looked at yet."""

    document: Json
    resolved: Asked
    ties: Ties
    expect: Expect

    @property
    def spec(self) -> JobSpec:
        """With every default filled in."""
        return self.resolved.spec


def resolved_request(
    session: Session,
    project_id: UUID,
    document: JsonValue,
    catalogue: Catalogue,
    *,
    hold: bool,
) -> AskedJob:
    """What `document` asks for. Raises `ValidationFailed` with every fault there is. Stores nothing.

    With `hold`, what the job starts from cannot be deleted until the transaction ends.
    """
    asked: JsonValue = {} if document is None else document
    notify, expect, faults = _wishes(session, project_id, asked)
    faults += storage_faults(asked)
    sought = _Sought(session, project_id, catalogue, hold=hold)
    template = None
    if isinstance(asked, dict) and asked.get("template") is not None:
        template, wrong = _from_template(sought, asked)
    else:
        wrong = _from_spec(sought, asked)
    faults += wrong
    if faults or sought.spec is None or not isinstance(asked, dict):
        raise ValidationFailed(faults, what="job spec")
    return AskedJob(
        document=asked,
        resolved=Asked(sought.spec, sought.prompts, sought.done),
        ties=Ties(
            template=None if template is None else template.reference,
            notify=None if notify is None else notify.model_dump(exclude_none=True),
            init_from=sought.start,
        ),
        expect=expect,
    )


class _Sought:
    """Looks for the spec that a document means; once it is found, everything about it is there."""

    def __init__(
        self, session: Session, project_id: UUID, catalogue: Catalogue, *, hold: bool
    ) -> None:
        self.session, self.project_id = session, project_id
        self._catalogue, self._hold = catalogue, hold
        self.spec: JobSpec | None = None
        self.prompts: list[Prompt] = []
        self.start: Json | None = None
        self._prompt_set: str | None = None

    @property
    def done(self) -> Done:
        """What the job that it goes on from has used."""
        done = init_from.beginnings(self.start)
        if not done:
            return Done()
        return Done(
            steps=done["step"],
            reward_queries=done["reward_queries"],
            gpu_seconds=done["gpu_seconds"],
            wall_clock_s=done["wall_clock_s"],
        )

    def faults(self, document: JsonValue) -> list[Fault]:
        """What is wrong with the spec in `document`; without faults `spec` is set."""
        faults = [
            *_budget_faults(document),
            *_image_faults(self.session, self.project_id, document),
        ]
        try:
            spec = check(document, self._catalogue, self._load_prompts)
        except InvalidSpec as error:
            return [*map(with_hint, error.faults), *faults]
        begun = init_from.resolve(
            self.session, project_id=self.project_id, spec=spec, hold=self._hold
        )
        faults += begun.faults
        if not faults:
            prompts = spec.prompts.model_copy(update={"prompt_set": self._prompt_set})
            self.spec = spec.model_copy(update={"init_from": begun.init_from, "prompts": prompts})
            self.start = begun.start
            self.prompts = spec.prompts.inline or self.prompts
        return faults

    def _load_prompts(self, reference: str) -> list[Prompt] | None:
        found = prompt_sets.find(
            self.session, project_id=self.project_id, reference=reference, hold=self._hold
        )
        if found is None:
            return None
        # A name means the newest version now, and the job keeps to that one.
        self._prompt_set = prompt_sets.reference_to(found)
        self.prompts = prompt_sets.prompts_of(found)
        return self.prompts


def _from_spec(sought: _Sought, asked: JsonValue) -> list[Fault]:
    if not isinstance(asked, dict):
        return sought.faults(asked)
    spec = {name: value for name, value in asked.items() if name not in _BESIDES}
    faults = sought.faults(spec)
    if asked.get("overrides") is not None:
        detail = (
            "Overrides change a template's spec: name the `template`, or write them into the spec."
        )
        faults.append(Fault(pointer="/overrides", code="overrides_without_template", detail=detail))
    return faults


def _from_template(sought: _Sought, asked: Json) -> tuple[Found | None, list[Fault]]:
    overrides = {} if asked.get("overrides") is None else asked["overrides"]
    faults = _shape_beside_template(asked)
    if not isinstance(asked["template"], str) or not isinstance(overrides, dict):
        return None, faults
    found, fault = _template(sought, asked["template"])
    if found is None:
        return None, [*faults, *fault]
    wrong = sought.faults(merged(found.version.spec, overrides))
    told = as_sent(
        wrong,
        patch=overrides,
        at="/overrides",
        otherwise="/template",
        whose="the template's spec",
    )
    return found, [*faults, *fault, *told]


def _shape_beside_template(asked: Json) -> list[Fault]:
    """What is wrong with the top level of a request by template; `notify` and `expect` are not looked at."""
    shown = {name: value for name, value in asked.items() if name not in Wishes.model_fields}
    try:
        JobFromTemplate.model_validate({"overrides": {}} | shown)
    except ValidationError as error:
        faults = [with_hint(fault) for fault in shape_faults(error, shown)]
    else:
        return []
    detail = "With a template, everything else of the spec stands in `overrides`."
    return [
        Fault(pointer=fault.pointer, code="not_beside_template", detail=detail)
        if fault.pointer.removeprefix("/") in JobSpec.model_fields
        else fault
        for fault in faults
    ]


def _template(sought: _Sought, reference: str) -> tuple[Found | None, list[Fault]]:
    try:
        found = templates.named(sought.session, project_id=sought.project_id, reference=reference)
    except NotFound as error:
        return None, [Fault(pointer="/template", code="unknown_template", detail=error.detail)]
    if found.template.archived_at is None:
        return found, []
    detail = f"{reference} is archived: new jobs cannot be made from it."
    return found, [Fault(pointer="/template", code="template_archived", detail=detail)]


def _wishes(
    session: Session, project_id: UUID, asked: JsonValue
) -> tuple[Notify | None, Expect, list[Fault]]:
    """Who is to be told and what is expected, and what is wrong with that."""
    given = asked if isinstance(asked, dict) else {}
    notify, of_notify = _wish(Notify, given.get("notify"), "/notify")
    expect, of_expect = _wish(Expect, given.get("expect"), "/expect")
    faults = [*of_notify, *of_expect]
    if notify is not None:
        named, known = notify.events or [], event_types.EVENT_TYPES
        faults += event_types.faults(named, pointer="/notify/events", known=known)
        faults += _endpoint_faults(session, project_id, notify.webhook_endpoints or [])
    limit = None if expect is None else expect.max_estimated_cost
    currency = get_settings().currency
    if limit is not None and limit.currency != currency:
        pointer = "/expect/max_estimated_cost/currency"
        detail = f"This service counts in {currency}; got {limit.currency}."
        faults.append(not_in_set(pointer, detail, currency))
    return notify, expect or Expect(), faults


def _wish(model: type[Model], given: JsonValue, pointer: str) -> tuple[Model | None, list[Fault]]:
    if given is None:
        return None, []
    try:
        return model.model_validate(given), []
    except ValidationError as error:
        return None, [
            fault.model_copy(update={"pointer": f"{pointer}{fault.pointer}"})
            for fault in shape_faults(error, given)
        ]


def _endpoint_faults(session: Session, project_id: UUID, names: list[str]) -> list[Fault]:
    wanted = {name: _endpoint_id(name) for name in names}
    known = webhooks.known_endpoints(
        session,
        project_id=project_id,
        ids=[endpoint for endpoint in wanted.values() if endpoint is not None],
    )
    return [
        Fault(
            pointer=f"/notify/webhook_endpoints/{i}",
            code="unknown_webhook_endpoint",
            detail=f"There is no webhook endpoint {name[:100]!r} in this project.",
        )
        for i, name in enumerate(names)
        if wanted[name] not in known
    ]


def _endpoint_id(name: str) -> UUID | None:
    try:
        return ids.from_public("we", name)
    except NotFound:
        return None


def _image_faults(session: Session, project_id: UUID, asked: JsonValue) -> list[Fault]:
    """The inline prompts' images; those of a prompt set were looked at when it was made."""
    prompts = asked.get("prompts") if isinstance(asked, dict) else None
    inline = prompts.get("inline") if isinstance(prompts, dict) else None
    return image_faults(session, project_id=project_id, prompts=inline, pointer="/prompts/inline")


def _budget_faults(asked: JsonValue) -> list[Fault]:
    """What is wrong with a well-formed budget at this time, however wrong the rest of the spec is."""
    try:
        budget = Budget.model_validate(asked.get("budget") if isinstance(asked, dict) else None)
    except ValidationError:
        # What is wrong with its form is told by the check of the whole.
        return []
    return budgets.faults(budget, now=utc_now())
