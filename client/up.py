"""`vader up`: runs the embedded stack until a signal comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from client.stack.errors import StopAsked
from client.stack.folder import DataFolder, held, open_folder, read_json
from client.stack.services import Options
from client.stack.signals import caught
from client.stack.stack import Stack


def up(*, data_dir: Path, options: Options, as_json: bool) -> None:
    """Starts the stack, prints where it is, and returns after SIGINT or SIGTERM has stopped it.

    With `as_json` stdout gets one line, once ready: {"url", "api_key", "data_dir"}; what a person may
    want to know goes to stderr. Raises `client.stack.errors.StackError`.
    """
    folder = open_folder(data_dir)
    report: Callable[[str], None] = _to_stderr
    with held(folder), caught() as signals, Stack(folder, signals=signals, report=report) as stack:
        try:
            stack.start(options)
        except StopAsked:
            return
        _announce(folder, as_json=as_json)
        stack.watch()


def _announce(folder: DataFolder, *, as_json: bool) -> None:
    credentials = read_json(folder.credentials)
    url, key = credentials["url"], credentials["api_key"]
    if as_json:
        text = json.dumps({"url": url, "api_key": key, "data_dir": str(folder.root)})
    else:
        text = (
            f"The service is ready at {url} (interactive documentation at {url}/docs).\n"
            f"API key: {key}\n"
            f"Data and logs: {folder.root}\n"
            f"Try: vader jobs create -f examples/demo.yaml --watch\n"
            "Ctrl-C stops everything; started again on the same folder it goes on."
        )
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _to_stderr(line: str) -> None:
    # A reader who has gone away must not keep the stack from stopping in order.
    with suppress(OSError):
        sys.stderr.write(f"vader up: {line}\n")
        sys.stderr.flush()
