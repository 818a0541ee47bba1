"""The embedded Redis: on a free loopback port with a password, its data in the data folder."""

from __future__ import annotations

import secrets
import socket

from client.stack.folder import DataFolder, write_private
from client.stack.ports import HOST, free_port
from client.stack.processes import Command
from client.stack.wheels import redis_server


class Redis:
    """Prepares the server's configuration and says how to run and reach it. Raises `WheelMissing`."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder, self._program = folder, redis_server()
        self._port, self._password = free_port(), secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The server's URL with its password."""
        return f"redis://:{self._password}@{HOST}:{self._port}/0"

    @property
    def command(self) -> Command:
        """The server process."""
        words = [str(self._program), str(self._folder.redis / "redis.conf")]
        return Command(name="redis", words=words, orphan_signal=Command.stop_signal)

    def prepare(self) -> None:
        """Writes the configuration. Nothing is ever evicted: a lost doorbell costs a job its wait."""
        lines = [
            f"bind {HOST}",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{_escaped(str(self._folder.redis))}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
        ]
        write_private(self._folder.redis / "redis.conf", "\n".join(lines) + "\n")

    def is_ready(self) -> bool:
        """Whether the server has loaded its data and answers."""
        try:
            with socket.create_connection((HOST, self._port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answers = connection.makefile("rb")
                return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
