"""The data folder of an embedded stack: where everything lies, and the lock that makes it one stack's own."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.stack.errors import FolderInUse, StackError

_LOG_KEPT_BYTES = 20_000_000


@dataclass(frozen=True)
class DataFolder:
    """Paths below `root`. Everything but `credentials` and `logs` is for the stack alone."""

    root: Path

    @property
    def postgres(self) -> Path:
        """Postgres' cluster."""
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        """Redis' configuration and append-only file."""
        return self.root / "redis"

    @property
    def objects(self) -> Path:
        """The object store."""
        return self.root / "objects"

    @property
    def work(self) -> Path:
        """Run folders of the trainer processes."""
        return self.root / "work"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def credentials(self) -> Path:
        """URL and API key as JSON: what the `vader` command looks for."""
        return self.root / "credentials.json"

    @property
    def settings(self) -> Path:
        """The settings that the service's processes read."""
        return self.root / "settings.env"

    @property
    def processes(self) -> Path:
        """The processes of the running stack, or of one that was killed."""
        return self.root / "processes.json"

    @property
    def secret_key(self) -> Path:
        """The key that API keys are hashed and links are signed with."""
        return self.root / "secret_key"

    def log(self, name: str) -> Path:
        """The log of the process called `name`; a large one of former runs is put aside as `.1`."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path


def open_folder(root: Path) -> DataFolder:
    """The data folder at `root`, made with its inner folders when it is not there.

    Raises `StackError` when it cannot be made.
    """
    folder = DataFolder(root.expanduser().resolve())
    awkward = sorted(set(str(folder.root)) & set("?#\n"))
    if awkward:
        raise StackError(f"The data folder {folder.root} must not have {awkward} in its path.")
    try:
        folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for inner in (folder.postgres, folder.redis, folder.objects, folder.work, folder.logs):
            inner.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise StackError(f"The data folder {root} cannot be used: {error}") from error
    return folder


@contextmanager
def held(folder: DataFolder) -> Iterator[None]:
    """Holds the folder for this process. Raises `FolderInUse` when another one holds it.

    The lock is the kernel's, so it ends with the process however that ends.
    """
    with (folder.root / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise FolderInUse(
                f"Another `vader up` (process {holder}) runs on {folder.root}. "
                "Stop it, or give another folder with --data-dir."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, in one step."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(path)


def secret_key(folder: DataFolder) -> str:
    """The folder's secret key, made on the first call and never changed."""
    if not folder.secret_key.exists():
        write_private(folder.secret_key, secrets.token_hex(32))
    return folder.secret_key.read_text(encoding="utf-8").strip()


def write_settings(folder: DataFolder, settings: Mapping[str, str]) -> None:
    """Writes the settings file: one `NAME='value'` per line."""
    lines = [f"{name}={_quoted(value)}\n" for name, value in settings.items()]
    write_private(folder.settings, "".join(lines))


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in `path`; an empty one where there is no such file or it is broken."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
