"""`vader base-models`, `rewards` and `methods`: what jobs can be made of, and rewards tried on videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from client.assignments import values
from client.command import EXIT_FAILED, Session, command
from client.errors import FileUnusable
from client.show.catalogue import (
    show_base_model,
    show_base_models,
    show_method,
    show_methods,
    show_reward,
    show_rewards,
    show_scoring,
)

base_models_app = typer.Typer(help="What jobs can start from.", no_args_is_help=True)
rewards_app = typer.Typer(help="What jobs can train on; try it on videos.", no_args_is_help=True)
methods_app = typer.Typer(help="How jobs can train.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="id or id@version")]


@command(base_models_app, "list")
def list_base_models(session: Session) -> None:
    """List the base models."""
    session.show_all(session.client.base_models(), show_base_models)


@command(base_models_app, "get")
def get_base_model(session: Session, name: Name) -> None:
    """Show a base model: limits, defaults, variants, weights."""
    session.show(session.client.base_model(name), show_base_model)


@command(rewards_app, "list")
def list_rewards(session: Session) -> None:
    """List the rewards."""
    session.show_all(session.client.rewards(), show_rewards)


@command(rewards_app, "get")
def get_reward(session: Session, name: Name) -> None:
    """Show a reward: range, targets, parameters, weights."""
    session.show(session.client.reward(name), show_reward)


@command(methods_app, "list")
def list_methods(session: Session) -> None:
    """List the training methods."""
    session.show_all(session.client.methods(), show_methods)


@command(methods_app, "get")
def get_method(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="what `method.type` says")],
) -> None:
    """Show a training method: rewards it takes, settings and their defaults."""
    session.show(session.client.method(name), show_method)


@command(rewards_app, "score")
def score(
    session: Session,
    reward: Annotated[str, typer.Argument(metavar="REWARD", help="id or id@version")],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="mp4 or WebM files, or ids: upl_..., smp_..."),
    ],
    *,
    prompt: Annotated[
        list[str], typer.Option(help="What they show: one text for all, or one for each.")
    ],
    target: Annotated[
        list[str] | None, typer.Option(help="The label to look for: one for all, or one for each.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
) -> None:
    """Try a reward on at most 8 videos: local ones are uploaded, and the scores waited for."""
    prompts, targets = _for_each(files, prompt, "--prompt"), _for_each(files, target, "--target")
    params = values(param, option="--param")
    videos = [
        _video(session, name, prompt=said, target=wanted)
        for name, said, wanted in zip(files, prompts, targets, strict=True)
    ]
    asked = session.client.score(reward, videos, params=params)
    ended = session.client.wait_for_scoring(asked.id)
    session.show(ended, lambda console, scoring: show_scoring(console, scoring, names=files))
    if ended.status == "failed":
        raise typer.Exit(EXIT_FAILED)


def _for_each(files: list[str], given: list[str] | None, option: str) -> list[str | None]:
    """One value a file."""
    if not given:
        return [None] * len(files)
    if len(given) not in {1, len(files)}:
        detail = f"give it once, or once for each of the {len(files)} files; got {len(given)}"
        raise typer.BadParameter(detail, param_hint=option)
    return [*given] * (len(files) // len(given))


def _video(
    session: Session, name: str, *, prompt: str | None, target: str | None
) -> dict[str, JsonValue]:
    said: dict[str, JsonValue] = {"prompt": prompt}
    if target is not None:
        said["target"] = target
    if Path(name).is_file():
        return {"upload": session.client.upload(Path(name)).id, **said}
    for prefix, field in (("upl_", "upload"), ("smp_", "sample")):
        if name.startswith(prefix):
            return {field: name, **said}
    raise FileUnusable(f"{name} is no file, and no upload's or sample's id either.")
