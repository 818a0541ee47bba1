"""Prompt sets and templates of jobs."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from client.models.shared import Answer, Tagged


class Prompt(Answer):
    """One prompt of a set, and the side that it is on; `heldout` is its own mark, if it has one."""

    id: str
    index: int
    prompt: str
    target: str | None = None
    heldout: bool | None = None
    image: str | None = None
    side: str


class PromptWarning(Answer):
    """Something that does not stop anybody from using the prompts; `pointers` are the first places."""

    code: str
    detail: str
    count: int = 0
    pointers: list[str] = []


class TextLengths(Answer):
    """How the prompts fit into the text encoder of a base model; what goes beyond `limit` is cut off."""

    base_model: str
    limit: int
    basis: str
    longest: int
    too_long: int


class PromptReport(Answer):
    """What was found in prompts."""

    prompts: int
    training: int
    heldout: int
    marked: int = 0
    targets: list[str] = []
    with_target: int = 0
    with_image: int = 0
    exact_duplicates: int = 0
    alike_duplicates: int = 0
    empty_lines: int = 0
    text: TextLengths | None = None
    warnings: list[PromptWarning] = []


class PromptSet(Answer):
    """One version of a named list of prompts, which never changes. Lists leave out the report."""

    id: str
    name: str
    version: int
    size: int
    training: int
    heldout: int
    targets: list[str] = []
    sha256: str
    report: PromptReport | None = None
    created_at: datetime


class PromptSetCheck(Answer):
    """What making a prompt set would find."""

    name: str
    report: PromptReport


class Template(Tagged):
    """One version of a job template; a change makes a new version."""

    id: str
    reference: str
    name: str
    description: str = ""
    version: int
    newest_version: int
    spec: dict[str, JsonValue] = {}
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None
