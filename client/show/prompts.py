"""Prompt sets and templates as text."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from rich.console import Console

from client.models import (
    Prompt,
    PromptReport,
    PromptSet,
    PromptSetCheck,
    PromptWarning,
    Template,
)
from client.show.tables import labelled, moment, show_lines, show_table


def show_prompt_sets(console: Console, found: Sequence[PromptSet]) -> None:
    """A table."""
    rows = [
        (
            one.id,
            f"{one.name} v{one.version}",
            str(one.training),
            str(one.heldout),
            moment(one.created_at),
        )
        for one in found
    ]
    show_table(console, ("prompt set", "name", "training", "held out", "made"), rows)


def show_prompt_set(console: Console, found: PromptSet) -> None:
    """One prompt set in some lines."""
    lines = [
        f"{found.id}  {found.name} v{found.version}",
        *(labelled("targets", ", ".join(found.targets)) if found.targets else []),
        *labelled("made", moment(found.created_at)),
        *(_report_lines(found.report) if found.report else []),
    ]
    show_lines(console, lines)


def show_check(console: Console, check: PromptSetCheck) -> None:
    """What a look at prompts found."""
    show_lines(console, _report_lines(check.report))


def show_prompts(console: Console, prompts: Sequence[Prompt]) -> None:
    """A row each."""
    rows = [(one.prompt, one.target or "", one.image or "") for one in prompts]
    show_table(console, ("prompt", "target", "image"), rows)


def show_templates(console: Console, found: Sequence[Template]) -> None:
    """A table."""
    rows = [(one.reference, one.name, one.description, moment(one.updated_at)) for one in found]
    show_table(console, ("template", "name", "description", "changed"), rows)


def show_template(console: Console, found: Template) -> None:
    """One version of a template, its spec as YAML."""
    newest = "the newest" if found.version == found.newest_version else f"of {found.newest_version}"
    lines = [
        f"{found.reference}  {found.name}",
        *(labelled("about", found.description) if found.description else []),
        *labelled("version", f"{found.version}, {newest}"),
        *(labelled("archived", moment(found.archived_at)) if found.archived_at else []),
        *labelled("spec", *yaml.safe_dump(found.spec, sort_keys=False).splitlines()),
    ]
    show_lines(console, lines)


def _report_lines(report: PromptReport) -> list[str]:
    lines = labelled(
        "found", f"{report.prompts} prompts: {report.training} training, {report.heldout} held out"
    )
    text = report.text
    if text is not None:
        of = f"{text.base_model} reads {text.limit} tokens"
        lines += labelled("length", f"{of}; longest {text.longest}, too long {text.too_long}")
    for one in report.warnings:
        lines += labelled("warning", f"{one.code}: {one.detail}", *_places(one))
    return lines


def _places(warning: PromptWarning) -> list[str]:
    """Where the first three cases are; none for a warning that has no place."""
    shown = warning.pointers[:3]
    if not shown:
        return []
    return [f"at {', '.join(shown)}" + (", ..." if warning.count > len(shown) else "")]
