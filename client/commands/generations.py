"""`vader generate` and `vader generations`: videos from prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from client.answers import given
from client.assignments import placed
from client.command import EXIT_CANCELLED, EXIT_FAILED, Everything, Limit, Session, command
from client.models import Generation
from client.show.adapters import show_generation, show_generations

generations_app = typer.Typer(help="Look at videos that were made.", no_args_is_help=True)

GenerationId = Annotated[str, typer.Argument(metavar="GENERATION")]
To = Annotated[Path, typer.Option(file_okay=False, help="Folder to put the videos in.")]
_EXITS = {"failed": EXIT_FAILED, "cancelled": EXIT_CANCELLED}


def add_generate(app: typer.Typer) -> None:
    """Registers `vader generate`."""
    command(app, "generate")(generate)


def generate(  # noqa: PLR0913 (the command's options)
    session: Session,
    *,
    prompt: Annotated[str, typer.Option(help="What the video is to show.")],
    adapter: Annotated[
        str | None, typer.Option(help="An adapter's id or @NAME, or a job that yielded one.")
    ] = None,
    base_model: Annotated[str | None, typer.Option(help="Without an adapter: this alone.")] = None,
    scale: Annotated[float | None, typer.Option(help="The adapter's strength; 1.")] = None,
    compare_with_base: Annotated[
        bool, typer.Option("--compare-with-base", help="Also without the adapter, side by side.")
    ] = False,
    score_with: Annotated[
        list[str] | None, typer.Option(help="Score by this reward; may be repeated.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The label that rewards look for.")] = None,
    image: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
    negative_prompt: Annotated[str | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    num_videos: Annotated[int | None, typer.Option(min=1, help="So many seeds from there.")] = None,
    num_frames: Annotated[int | None, typer.Option(min=1)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Anything else: video.width=64; repeated."
        ),
    ] = None,
    to: To = Path("generated"),
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the videos.")] = False,
) -> None:
    """Make videos from a prompt, wait for them and download them."""
    client = session.client
    video = given({"num_frames": num_frames, "inference_steps": steps})
    asked: dict[str, JsonValue] = {
        "prompt": prompt,
        "adapter": adapter and client.adapter_id_of(adapter),
        "base_model": base_model,
        "adapter_scale": scale,
        "compare_with_base": compare_with_base,
        "score_with": [*(score_with or [])],
        "target": target,
        "image": None if image is None else client.upload(image).id,
        "negative_prompt": negative_prompt,
        "seed": seed,
        "num_videos": num_videos,
        "video": video or None,
    }
    made = client.generate(placed(given(asked), changes, option="--set"))
    if detach:
        session.show(made, show_generation)
    else:
        _finish(session, client.wait_for_generation(made.id), to)


@command(generations_app, "list")
def list_generations(
    session: Session, *, limit: Limit = 20, everything: Everything = False
) -> None:
    """List generations, newest first."""
    listing = session.client.generations()
    session.show_list(listing, show_generations, limit=limit, everything=everything)


@command(generations_app, "get")
def get(session: Session, generation_id: GenerationId) -> None:
    """Show a generation."""
    session.show(session.client.generation(generation_id), show_generation)


@command(generations_app, "pull")
def pull(session: Session, generation_id: GenerationId, *, to: To = Path("generated")) -> None:
    """Wait for a generation, and download its videos."""
    _finish(session, session.client.wait_for_generation(generation_id), to)


@command(generations_app, "cancel")
def cancel(session: Session, generation_id: GenerationId) -> None:
    """Cancel a generation."""
    session.show(session.client.cancel_generation(generation_id), show_generation)


@command(generations_app, "delete")
def delete(session: Session, generation_id: GenerationId) -> None:
    """Delete the files of a generation that has ended."""
    session.show(session.client.delete_generation(generation_id), show_generation)


def _finish(session: Session, made: Generation, to: Path) -> None:
    paths = session.client.download_generation(made, to=to)
    session.show(made, show_generation)
    if not session.as_json:
        session.say("\n".join(str(path) for path in paths))
    if made.status in _EXITS:
        raise typer.Exit(_EXITS[made.status])
