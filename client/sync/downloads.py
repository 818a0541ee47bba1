# Generated from client/aio/downloads.py by `python -m tests.sync_client`. Do not edit.
"""Files from signed links: fetched without the API key, checked by sha256, resumed where they broke off."""

from __future__ import annotations

from pathlib import Path

import httpx

from client.errors import FileUnusable, Gone, Unauthorized
from client.models import File
from client.part_file import PartFile
from client.retries import after_silence, refusal_of
from client.sync.basics import offload, sleep
from client.sync.transport import Transport

_TIMEOUT_S = 60.0


def fetch(transport: Transport, file: File, *, to: Path, renew: str | None = None) -> Path:
    """Downloads `file` to the path `to`; a right file that is there already is left alone.

    What an earlier download left unfinished is gone on with. `renew` is a path of the API that leads to a
    new link, for when this one expires meanwhile. Raises `DownloadCorrupt` when size or sha256 differ
    from what the service said (nothing is kept then), `Unreachable`, or `RequestRefused` when the link
    has expired.
    """
    part = PartFile(file, to)
    try:
        if offload(part.is_done):
            return to
        offload(part.begin)
        _fill(transport, file, part, renew)
        offload(part.finish)
    except OSError as error:
        raise FileUnusable(f"{to} cannot be written: {error}") from error
    finally:
        part.close()
    return to


def _fill(transport: Transport, file: File, part: PartFile, renew: str | None) -> None:
    url, failures = httpx.URL(transport.url).join(file.url), 0
    while True:
        before = part.size
        try:
            _stream(transport, url, part)
            return
        except httpx.TransportError as error:
            # One that brought something counts for nothing: large files may take many connections.
            failures = 0 if part.size > before else failures + 1
            service = f"{url.scheme}://{url.netloc.decode()}"
            sleep(after_silence(service, error, number=failures).pause_s)
        except (Gone, Unauthorized):
            if renew is None:
                raise
            url, renew = httpx.URL(transport.location(renew)), None


def _stream(transport: Transport, url: httpx.URL, part: PartFile) -> None:
    """Adds to `part` what is missing of it."""
    # Ranges are those of the file itself, not of a compressed form of it.
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    with transport.bare.stream("GET", url, headers=headers, timeout=_TIMEOUT_S) as response:
        if response.is_error:
            response.read()
            raise refusal_of(response)
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            part.restart()
        for chunk in response.iter_bytes():
            part.write(chunk)
