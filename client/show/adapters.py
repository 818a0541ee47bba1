"""Adapters and generations as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from client.models import Adapter, Alias, GeneratedVideo, Generation
from client.show.jobs import place_text
from client.show.tables import aligned, labelled, moment, show_lines, show_table, size


def show_adapters(console: Console, adapters: Sequence[Adapter]) -> None:
    """A table."""
    rows = [
        (
            one.id,
            one.base_model,
            str(one.step),
            size(one.size_bytes),
            ", ".join(f"@{name}" for name in one.aliases),
            moment(one.created_at),
        )
        for one in adapters
    ]
    show_table(console, ("adapter", "base model", "step", "size", "aliases", "made"), rows)


def show_adapter(console: Console, adapter: Adapter) -> None:
    """One adapter in some lines."""
    files = aligned([(file.path, size(file.size_bytes)) for file in adapter.files])
    lines = [
        adapter.id,
        *labelled("job", f"{adapter.job_id}, step {adapter.step}", adapter.name),
        *labelled("base model", adapter.base_model),
        *(labelled("rewards", ", ".join(adapter.rewards)) if adapter.rewards else []),
        *(labelled("verdict", adapter.verdict.replace("_", " ")) if adapter.verdict else []),
        *(labelled("deleted", moment(adapter.deleted_at)) if adapter.deleted_at else []),
        *labelled("aliases", ", ".join(f"@{name}" for name in adapter.aliases) or "none"),
        *labelled("size", size(adapter.size_bytes)),
        *(labelled("files", *files) if files else []),
        *labelled("made", moment(adapter.created_at)),
    ]
    show_lines(console, lines)


def show_alias(console: Console, alias: Alias) -> None:
    """What a name means."""
    show_lines(console, [f"@{alias.name} is {alias.adapter_id}"])


def show_aliases(console: Console, aliases: Sequence[Alias]) -> None:
    """A table."""
    rows = [(f"@{one.name}", one.adapter_id, moment(one.updated_at)) for one in aliases]
    show_table(console, ("alias", "adapter", "since"), rows)


def show_generations(console: Console, generations: Sequence[Generation]) -> None:
    """A table."""
    rows = [(one.id, one.status, one.prompt, moment(one.created_at)) for one in generations]
    show_table(console, ("generation", "status", "prompt", "asked for"), rows)


def show_generation(console: Console, made: Generation) -> None:
    """One generation in some lines."""
    lines = [made.id, *labelled("status", made.status), *labelled("prompt", made.prompt)]
    if made.queue is not None:
        lines += labelled("queue", place_text(made.queue))
    if made.error is not None:
        lines += labelled("error", f"{made.error.code}: {made.error.message}")
        lines += labelled("hint", made.error.hint) if made.error.hint else []
    videos = aligned([_video(video) for video in made.outputs])
    show_lines(console, lines + (labelled("videos", *videos) if videos else []))


def _video(video: GeneratedVideo) -> list[str]:
    scores = [
        f"{one.reward} {'none' if one.score is None else f'{one.score:.4f}'}"
        for one in video.scores
    ]
    return [f"seed {video.seed}", video.role, size(video.size_bytes), ", ".join(scores)]
