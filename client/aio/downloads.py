"""Files from signed links: fetched without the API key, checked by sha256, resumed where they broke off."""

from __future__ import annotations

from pathlib import Path

import httpx

from client.aio.basics import offload, sleep
from client.aio.transport import Transport
from client.errors import FileUnusable, Gone, Unauthorized
from client.models import File
from client.part_file import PartFile
from client.retries import after_silence, refusal_of

_TIMEOUT_S = 60.0


async def fetch(transport: Transport, file: File, *, to: Path, renew: str | None = None) -> Path:
    """Downloads `file` to the path `to`; a right file that is there already is left alone.

    What an earlier download left unfinished is gone on with. `renew` is a path of the API that leads to a
    new link, for when this one expires meanwhile. Raises `DownloadCorrupt` when size or sha256 differ
    from what the service said (nothing is kept then), `Unreachable`, or `RequestRefused` when the link
    has expired.
    """
    part = PartFile(file, to)
    try:
        if await offload(part.is_done):
            return to
        await offload(part.begin)
        await _fill(transport, file, part, renew)
        await offload(part.finish)
    except OSError as error:
        raise FileUnusable(f"{to} cannot be written: {error}") from error
    finally:
        part.close()
    return to


async def _fill(transport: Transport, file: File, part: PartFile, renew: str | None) -> None:
    url, failures = httpx.URL(transport.url).join(file.url), 0
    while True:
        before = part.size
        try:
            await _stream(transport, url, part)
            return
        except httpx.TransportError as error:
            # One that brought something counts for nothing: large files may take many connections.
            failures = 0 if part.size > before else failures + 1
            service = f"{url.scheme}://{url.netloc.decode()}"
            await sleep(after_silence(service, error, number=failures).pause_s)
        except (Gone, Unauthorized):
            if renew is None:
                raise
            url, renew = httpx.URL(await transport.location(renew)), None


async def _stream(transport: Transport, url: httpx.URL, part: PartFile) -> None:
    """Adds to `part` what is missing of it."""
    # Ranges are those of the file itself, not of a compressed form of it.
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    async with transport.bare.stream("GET", url, headers=headers, timeout=_TIMEOUT_S) as response:
        if response.is_error:
            await response.aread()
            raise refusal_of(response)
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            part.restart()
        async for chunk in response.aiter_bytes():
            part.write(chunk)
