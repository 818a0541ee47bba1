"""Files from signed links: fetched without the API key, checked by sha256, kept only when right."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import httpx

from client.errors import DownloadCorrupt, FileUnusable, refusal
from client.models import File
from client.transport import backoff, problem_of, unreachable

_TRIES = 4
_CHUNK = 1 << 20
_TIMEOUT_S = 60.0


def fetch_all(files: Sequence[File], *, to: Path, base_url: str = "") -> list[Path]:
    """Downloads `files` into the folder `to` under their own paths. Raises as `fetch` does."""
    return [fetch(file, to=to / safe_path(file.path), base_url=base_url) for file in files]


def fetch(file: File, *, to: Path, base_url: str = "") -> Path:
    """Downloads `file` to the path `to`; a right file that is there already is left alone.

    A relative link is taken relative to `base_url`. Raises `DownloadCorrupt` when size or sha256 differ
    from what the service said (nothing is kept then), `Unreachable`, or `RequestRefused` when the link
    has expired.
    """
    if to.is_file() and _digest(to) == file.sha256:
        return to
    part = to.with_name(to.name + ".part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        digest, size = _download(httpx.URL(base_url).join(file.url), part)
        if (digest, size) != (file.sha256, file.size_bytes):
            raise DownloadCorrupt(
                f"{file.path}: got {size} bytes with sha256 {digest}, the service says "
                f"{file.size_bytes} bytes with sha256 {file.sha256}. Nothing was kept; try again."
            )
        part.replace(to)
    except OSError as error:
        raise FileUnusable(f"{to} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return to


def safe_path(path: str) -> Path:
    """`path` as a path below a folder. Raises `FileUnusable` for one that would lead out of it."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise FileUnusable(
            f"The service names a file {path!r}, which would lead out of the folder."
        )
    return Path(*pure.parts)


def _download(url: httpx.URL, part: Path) -> tuple[str, int]:
    for number in range(_TRIES):
        try:
            return _stream(url, part)
        except httpx.TransportError as error:
            if number == _TRIES - 1:
                raise unreachable(f"{url.scheme}://{url.netloc.decode()}", error) from error
            time.sleep(backoff(number))
    raise AssertionError("the last try returns or raises")


def _stream(url: httpx.URL, part: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with httpx.stream("GET", url, timeout=_TIMEOUT_S, follow_redirects=True) as response:
        if not response.is_success:
            response.read()
            raise refusal(problem_of(response))
        with part.open("wb") as sink:
            for chunk in response.iter_bytes(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                sink.write(chunk)
    return digest.hexdigest(), size


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
