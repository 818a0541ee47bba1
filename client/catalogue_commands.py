"""`vader base-models`, `rewards` and `methods`: what jobs can be made of, and rewards tried on videos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console

from client.api import VaderClient
from client.command import (
    DEFAULT_DATA_DIR,
    EXIT_FAILED,
    ApiKey,
    AsJson,
    DataDir,
    Url,
    connected,
    print_json,
    print_json_list,
)
from client.errors import FileUnusable
from client.render_catalogue import (
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


@base_models_app.command("list")
def list_base_models(
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the base models."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        found = client.base_models()
        if as_json:
            print_json_list(found)
        else:
            show_base_models(Console(), found)


@base_models_app.command("show")
def show_one_base_model(
    name: Name,
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a base model: limits, defaults, variants, weights."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        found = client.base_model(name)
        if as_json:
            print_json(found)
        else:
            show_base_model(Console(), found)


@rewards_app.command("list")
def list_rewards(
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the rewards."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        found = client.rewards()
        if as_json:
            print_json_list(found)
        else:
            show_rewards(Console(), found)


@rewards_app.command("show")
def show_one_reward(
    name: Name,
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a reward: range, targets, parameters, weights."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        found = client.reward(name)
        if as_json:
            print_json(found)
        else:
            show_reward(Console(), found)


@methods_app.command("list")
def list_methods(
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the training methods."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        found = client.methods()
        if as_json:
            print_json_list(found)
        else:
            show_methods(Console(), found)


@methods_app.command("show")
def show_one_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="what `method.type` says")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a training method: rewards it takes, settings and their defaults."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        found = client.method(name)
        if as_json:
            print_json(found)
        else:
            show_method(Console(), found)


@rewards_app.command("score")
def score(  # noqa: PLR0913 (the command's options)
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
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Try a reward on at most 8 videos: local ones are uploaded, and the scores waited for."""
    prompts, targets = _for_each(files, prompt, "--prompt"), _for_each(files, target, "--target")
    params = dict(_param(text) for text in param or [])
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        videos = [
            _video(client, name, prompt=said, target=wanted)
            for name, said, wanted in zip(files, prompts, targets, strict=True)
        ]
        asked = client.score(reward, videos, params=params)
        ended = client.wait_for_scoring(asked.id)
        if as_json:
            print_json(ended)
        else:
            show_scoring(Console(), ended, names=files)
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


def _param(text: str) -> tuple[str, JsonValue]:
    """NAME=VALUE; the value is JSON where it can be, else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint="--param")
    try:
        parsed: JsonValue = json.loads(value)
    except ValueError:
        return name, value
    return name, parsed


def _video(
    client: VaderClient, name: str, *, prompt: str | None, target: str | None
) -> dict[str, JsonValue]:
    said: dict[str, JsonValue] = {"prompt": prompt}
    if target is not None:
        said["target"] = target
    if Path(name).is_file():
        return {"upload": client.upload(Path(name)).id, **said}
    for prefix, field in (("upl_", "upload"), ("smp_", "sample")):
        if name.startswith(prefix):
            return {field: name, **said}
    raise FileUnusable(f"{name} is no file, and no upload's or sample's id either.")
