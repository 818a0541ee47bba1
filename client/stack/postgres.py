"""The embedded Postgres: a cluster in the data folder, reached through a unix socket alone."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

import psutil

from client.stack.errors import StackError
from client.stack.folder import DataFolder
from client.stack.processes import Command, kill, run_once
from client.stack.wheels import postgres_bin

# Postgres refuses to run as root, so for root it runs as this user, which the wheel makes as well.
_SYSTEM_USER = "pgserver"
_SUPERUSER = "postgres"
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 107
_LOCK = "postmaster.pid"
_STATUS_LINE = 8
_INIT_S = 120.0


class Postgres:
    """Prepares the cluster of a data folder and says how to run and reach it.

    Raises `StackError` where Postgres cannot run here.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder, self._bin = folder, postgres_bin()
        self._user = _SYSTEM_USER if os.geteuid() == 0 else None
        if self._user is not None:
            _let_in(self._user, folder.postgres, self._bin.parent)
        self._sockets = _socket_folder(folder.postgres, self._user)

    @property
    def url(self) -> str:
        """The database's URL for SQLAlchemy with psycopg."""
        host = quote(str(self._sockets), safe="")
        return f"postgresql+psycopg://{_SUPERUSER}@/postgres?host={host}"

    @property
    def command(self) -> Command:
        """The server process. Its connections are trusted: only its own user can reach the socket."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "shared_buffers": "64MB",
            "max_connections": "60",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command(
            name="postgres",
            words=[str(self._bin / "postgres"), "-D", str(self._folder.postgres), *options],
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            user=self._user,
        )

    def prepare(self, *, stop: threading.Event) -> None:
        """Makes the cluster on the first start, and clears what a killed server left on a later one."""
        if (self._folder.postgres / "PG_VERSION").exists():
            _clear_stale_lock(self._folder.postgres)
            return
        # An initdb that was cut off leaves files that it would refuse to work with.
        for path in self._folder.postgres.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        words = [str(self._bin / "initdb"), "--auth=trust", "--encoding=UTF8", "--locale=C"]
        words += ["-U", _SUPERUSER, "-D", str(self._folder.postgres)]
        command = Command("initdb", words, user=self._user)
        run_once(command, self._folder.log("initdb"), stop=stop, within_s=_INIT_S)

    def is_ready(self, pid: int) -> bool:
        """Whether the server with that process id takes connections, as it writes down itself."""
        lines = _lock_lines(self._folder.postgres)
        return len(lines) >= _STATUS_LINE and (
            lines[0] == str(pid) and lines[_STATUS_LINE - 1].strip() == "ready"
        )

    def discard_sockets(self) -> None:
        """Removes the folder of the socket where that lies outside of the data folder."""
        if self._sockets != self._folder.postgres:
            shutil.rmtree(self._sockets, ignore_errors=True)


def _let_in(user: str, data: Path, install: Path) -> None:
    """Lets the system user reach its data and the programs."""
    entry = _system_user(user)
    if data.stat().st_uid != entry.pw_uid:
        os.chown(data, entry.pw_uid, entry.pw_gid)
    for path in [*data.parents, *install.parents]:
        _add_mode(path, stat.S_IXOTH)
    if not (install / "bin" / "initdb").stat().st_mode & stat.S_IXOTH:
        for path in [install, *install.rglob("*")]:
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            _add_mode(path, stat.S_IROTH | (stat.S_IXOTH if runs else 0))


def _system_user(name: str) -> pwd.struct_passwd:
    """The system user of that name, made when there is none. Raises `StackError`."""
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if name not in _user_names() and program is not None:
        words = [program, "--system", "--user-group", "--shell", "/bin/false", name]
        # A start at the same moment may have made it; what counts is that it is there.
        subprocess.run(words, check=False, capture_output=True)  # noqa: S603
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise StackError(
            f"Postgres does not run as root, and the system user {name!r} for it to run as cannot be "
            f"made. Make it with `useradd --system --user-group {name}`, or run as another user."
        ) from error


def _user_names() -> set[str]:
    return {entry.pw_name for entry in pwd.getpwall()}


def _add_mode(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        path.chmod(mode | bits)


def _socket_folder(cluster: Path, user: str | None) -> Path:
    """The cluster's own folder, or a short one under the temporary folder: socket paths are limited."""
    if len(os.fsencode(cluster / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        return cluster
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"vader-{os.geteuid()}-{digest}"
    owner = os.geteuid() if user is None else pwd.getpwnam(user).pw_uid
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in {os.geteuid(), owner}:
        raise StackError(
            f"{folder} belongs to someone else. Give a shorter folder with --data-dir."
        )
    os.chown(folder, owner, -1)
    return folder


def _lock_lines(cluster: Path) -> list[str]:
    try:
        return (cluster / _LOCK).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _clear_stale_lock(cluster: Path) -> None:
    """Ends a server that a killed stack left on the cluster, and drops its lock file.

    Postgres itself would take any process that now has the written id for a running server.
    """
    lines = _lock_lines(cluster)
    if not lines or not lines[0].isdigit():
        return
    if psutil.pid_exists(int(lines[0])):
        process = psutil.Process(int(lines[0]))
        if str(cluster) in process.cmdline():
            kill([process, *process.children(recursive=True)])
    (cluster / _LOCK).unlink(missing_ok=True)
