"""`vader uploads`: images and videos brought to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client.command import (
    DEFAULT_DATA_DIR,
    ApiKey,
    AsJson,
    DataDir,
    Url,
    connected,
    print_json,
    print_json_list,
)
from client.render_catalogue import show_uploads

uploads_app = typer.Typer(help="Bring first images and videos.", no_args_is_help=True)


@uploads_app.command("create")
def create(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="PNG, JPEG, WebP, mp4 or WebM.")
    ],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Upload files; the ids are what prompts and scorings name."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        made = [client.upload(path) for path in files]
        if as_json:
            print_json_list(made)
        else:
            show_uploads(Console(), made)


@uploads_app.command("list")
def list_uploads(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List uploads, newest first."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        page = client.uploads(limit=limit)
        if as_json:
            print_json(page)
        else:
            show_uploads(Console(), page.data)


@uploads_app.command("delete")
def delete(
    upload_id: Annotated[str, typer.Argument(metavar="UPLOAD")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Delete an upload that nothing needs any more."""
    with connected(url=url, api_key=api_key, data_dir=data_dir, as_json=as_json) as client:
        client.delete_upload(upload_id)
